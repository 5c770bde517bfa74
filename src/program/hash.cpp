// The content hash: XXH3-128 (libxxhash) of a canonical byte string of the Program. Numbers are
// little-endian and of fixed width, texts and lists carry their length, enumerators go by their
// names: the hash is the same for every compiler and machine, and survives reordered enumerations.
#include <fmt/format.h>
#include <xxhash.h>

#include <bit>
#include <concepts>
#include <string>
#include <type_traits>

#include "program/attribute_fields.h"
#include "program/enum_names.h"
#include "program/program.h"

namespace dunlin {

namespace {

constexpr const char* kFormat = "dunlin program 1";  // changes whenever the bytes below do

class Bytes {
 public:
  void write(std::integral auto value) {
    auto bits = static_cast<uint64_t>(static_cast<int64_t>(value));
    for (int i = 0; i < 8; ++i, bits >>= 8) bytes_ += static_cast<char>(bits & 0xff);
  }
  void write(float value) { write(std::bit_cast<uint32_t>(value)); }
  void write(double value) { write(std::bit_cast<uint64_t>(value)); }
  void write(const std::string& text) {
    write(text.size());
    bytes_ += text;
  }
  template <typename T>
    requires std::is_enum_v<T>
  void write(T value) {
    write(std::string(enum_name(value)));
  }
  template <typename T>
  void write(const std::vector<T>& values) {
    write(values.size());
    for (const T& value : values) write(value);
  }

  void write(const ValueType& type) {
    write(type.dtype);
    write(to_string(type.dims));
  }
  void write(const Output& output) {
    write(output.name);
    write(output.value);
  }
  void write(const KvGroup& group) {
    write(group.window);
    write(group.kv_heads);
    write(group.head_dim);
    write(group.layers);
  }
  void write(const AxisSize& axis) {
    write(std::string(axis_name(axis.axis)));
    write(axis.size);
  }
  void write(const WeightDeclaration& weight) {
    write(weight.name);
    write(weight.dims);
  }
  void write(const Value& value) {
    switch (value.kind) {
      case Value::Kind::input:
        write(std::string("input"));
        write(std::string(input_name(value.input)));
        break;
      case Value::Kind::weight:
        write(std::string("weight"));
        write(value.weight);
        break;
      case Value::Kind::node:
        write(std::string("node"));
        write(value.node);
        write(value.result);
        break;
    }
    write(value.type);
  }
  void write(const Node& node) {
    write(std::string(op_name(node.op)));
    for_each_field(node.attributes, [this](const char*, const auto& field) { write(field); });
    write(node.operands);
    write(node.results);
  }

  const std::string& text() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace

ContentHash content_hash(const Program& program) {
  Bytes bytes;
  bytes.write(std::string(kFormat));
  bytes.write(program.kv_groups);
  bytes.write(program.weights);
  bytes.write(program.values);
  bytes.write(program.nodes);
  bytes.write(program.outputs);
  const XXH128_hash_t hash = XXH3_128bits(bytes.text().data(), bytes.text().size());
  return {hash.high64, hash.low64};
}

std::string to_string(const ContentHash& hash) {
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

}  // namespace dunlin

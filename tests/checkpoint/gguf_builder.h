// Writes GGUF files for tests, right ones and, field by field, wrong ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace dunlin {

template <typename T>
std::string raw(T value) {
  static_assert(std::is_arithmetic_v<T>);
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline std::string raw_string(const std::string& text) {
  return raw<uint64_t>(text.size()) + text;
}

inline std::string raw_floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += raw(value);
  return bytes;
}

// Type ids of GGUF values.
enum : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> extents;  // innermost first
  uint32_t type = 0;
  std::string data;
  std::optional<uint64_t> offset = std::nullopt;      // instead of the next free one
  std::optional<uint32_t> dimensions = std::nullopt;  // instead of extents.size()
};

class GgufBuilder {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::optional<uint64_t> tensor_count;
  std::optional<uint64_t> pair_count;
  std::vector<std::pair<std::string, std::string>> pairs;  // key, then type and value as bytes
  std::vector<GgufTensor> tensors;

  // Sets a key, in place when it exists.
  GgufBuilder& set(const std::string& key, uint32_t type, const std::string& value) {
    for (auto& [name, bytes] : pairs) {
      if (name == key) {
        bytes = raw(type) + value;
        return *this;
      }
    }
    pairs.emplace_back(key, raw(type) + value);
    return *this;
  }
  GgufBuilder& u32(const std::string& key, uint32_t value) { return set(key, kU32, raw(value)); }
  GgufBuilder& f32(const std::string& key, float value) { return set(key, kF32, raw(value)); }
  GgufBuilder& text(const std::string& key, const std::string& value) {
    return set(key, kString, raw_string(value));
  }
  GgufBuilder& array(const std::string& key, uint32_t type, uint64_t count,
                     const std::string& elements) {
    return set(key, kArray, raw(type) + raw(count) + elements);
  }
  GgufBuilder& without(const std::string& key) {
    std::erase_if(pairs, [&](const auto& pair) { return pair.first == key; });
    return *this;
  }
  GgufTensor& tensor(const std::string& name) {
    for (GgufTensor& each : tensors) {
      if (each.name == name) return each;
    }
    tensors.push_back({name, {}, 0, {}});
    return tensors.back();
  }

  std::string header() const {
    std::string bytes = magic + raw(version) +
                        raw<uint64_t>(tensor_count.value_or(tensors.size())) +
                        raw<uint64_t>(pair_count.value_or(pairs.size()));
    for (const auto& [key, value] : pairs) bytes += raw_string(key) + value;
    uint64_t next = 0;
    for (const GgufTensor& each : tensors) {
      bytes += raw_string(each.name);
      bytes += raw(each.dimensions.value_or(static_cast<uint32_t>(each.extents.size())));
      for (const uint64_t extent : each.extents) bytes += raw(extent);
      bytes += raw(each.type) + raw(each.offset.value_or(next));
      next = padded(next + each.data.size());
    }
    return bytes;
  }

  std::string build() const {
    std::string bytes = header();
    bytes.resize(padded(bytes.size()));
    for (const GgufTensor& each : tensors) {
      bytes += each.data;
      bytes.resize(padded(bytes.size()));
    }
    return bytes;
  }

 private:
  uint64_t padded(uint64_t size) const { return (size + alignment - 1) / alignment * alignment; }
};

}  // namespace dunlin

// Protocol buffers' encoding, read field by field; fields that nothing here needs are passed over.
#include "backend/pjrt/client/hlo_summary.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <optional>
#include <utility>

namespace dunlin::pjrt {
namespace {

struct Field {
  uint64_t number = 0;
  uint64_t integer = 0;         // of wire type 0
  std::string_view bytes = {};  // of wire type 2
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  // Calls `visit` for each field; false when the bytes end within one.
  bool read(const std::function<bool(const Field&)>& visit) {
    while (!rest_.empty()) {
      const auto field = next();
      if (!field || !visit(*field)) return false;
    }
    return true;
  }

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> take(uint64_t count) {
    if (count > rest_.size()) return std::nullopt;
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::optional<Field> next() {
    const auto key = varint();
    if (!key) return std::nullopt;
    Field field{.number = *key >> 3};
    std::optional<std::string_view> bytes = std::string_view();
    switch (*key & 7) {
      case 0: {
        const auto value = varint();
        if (!value) return std::nullopt;
        field.integer = *value;
        break;
      }
      case 1:
        bytes = take(8);
        break;
      case 2: {
        const auto size = varint();
        bytes = size ? take(*size) : std::nullopt;
        break;
      }
      case 5:
        bytes = take(4);
        break;
      default:
        return std::nullopt;
    }
    if (!bytes) return std::nullopt;
    field.bytes = *bytes;
    return field;
  }

  std::string_view rest_;
};

// PrimitiveType of xla_data.proto.
const char* type_name(uint64_t type) {
  switch (type) {
    case 1:
      return "pred";
    case 2:
      return "s8";
    case 4:
      return "s32";
    case 5:
      return "s64";
    case 6:
      return "u8";
    case 8:
      return "u32";
    case 9:
      return "u64";
    case 10:
      return "f16";
    case 11:
      return "f32";
    case 12:
      return "f64";
    case 16:
      return "bf16";
    case 21:
      return "s4";
    default:
      return "other";
  }
}

constexpr uint64_t kTuple = 13;

struct HloShape {
  uint64_t type = 0;
  std::vector<int64_t> dims = {};
  std::vector<int64_t> minor_to_major = {};
  std::string parts = {};  // of a tuple
  int64_t elements = 0;    // of a tuple's arrays

  std::string text() const {
    if (type == kTuple) return "(" + parts + ")";
    return fmt::format("{}[{}]", type_name(type), fmt::join(dims, ","));
  }
  int64_t count() const {
    int64_t product = type == kTuple ? elements : 1;
    for (const int64_t dim : dims) product *= dim;
    return product;
  }
};

// One number, or several packed into bytes, of a repeated field.
void append_numbers(const Field& field, std::vector<int64_t>& numbers) {
  if (field.bytes.empty()) {
    numbers.push_back(static_cast<int64_t>(field.integer));
    return;
  }
  std::string_view packed = field.bytes;
  while (!packed.empty()) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !packed.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(packed.front());
      packed.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    numbers.push_back(static_cast<int64_t>(value));
  }
}

// LayoutProto: minor_to_major 1 (packed).
bool read_layout(std::string_view bytes, std::vector<int64_t>& minor_to_major) {
  return WireReader(bytes).read([&minor_to_major](const Field& field) {
    if (field.number == 1) append_numbers(field, minor_to_major);
    return true;
  });
}

// ShapeProto: element_type 2, dimensions 3 (packed), tuple_shapes 4, layout 5.
bool read_shape(std::string_view bytes, HloShape& shape) {
  return WireReader(bytes).read([&shape](const Field& field) {
    if (field.number == 2) shape.type = field.integer;
    if (field.number == 3) append_numbers(field, shape.dims);
    if (field.number == 5) return read_layout(field.bytes, shape.minor_to_major);
    if (field.number != 4) return true;
    HloShape part;
    if (!read_shape(field.bytes, part)) return false;
    if (!shape.parts.empty()) shape.parts += ',';
    shape.parts += part.text();
    shape.elements += part.count();
    return true;
  });
}

// From the JSON that compilers write for themselves: {"estimated_cycles":"1234", ..} of libtpu, and of
// any of them {"known_trip_count":{"n":"32"}, ..}. 0: it does not say, or no number above 0.
constexpr std::string_view kCycles = "\"estimated_cycles\":\"";
constexpr std::string_view kTurns = "\"known_trip_count\":{\"n\":\"";

int64_t number_in(std::string_view backend_config, std::string_view key) {
  const size_t at = backend_config.find(key);
  int64_t value = 0;
  if (at == std::string_view::npos) return value;
  const std::string_view number = backend_config.substr(at + key.size());
  std::from_chars(number.data(), number.data() + number.size(), value);
  return value > 0 ? value : 0;
}

// HloInstructionProto: name 1, opcode 2, shape 3, metadata 7 {op_name 2}, called_computation_ids 38
// (packed), backend_config 43.
bool read_operation(std::string_view bytes, HloOperation& operation) {
  return WireReader(bytes).read([&operation](const Field& field) {
    if (field.number == 1) operation.name = field.bytes;
    if (field.number == 2) operation.opcode = field.bytes;
    if (field.number == 38) append_numbers(field, operation.calls);
    if (field.number == 43) {
      operation.estimated_cycles = number_in(field.bytes, kCycles);
      operation.turns = number_in(field.bytes, kTurns);
    }
    if (field.number == 3) {
      HloShape shape;
      if (!read_shape(field.bytes, shape)) return false;
      operation.shape = shape.text();
      operation.elements = shape.count();
      operation.layout = std::move(shape.minor_to_major);
    }
    if (field.number != 7) return true;
    return WireReader(field.bytes).read([&operation](const Field& metadata) {
      if (metadata.number == 2) operation.source = metadata.bytes;
      return true;
    });
  });
}

// HloComputationProto: name 1, instructions 2, id 5, which comes after them.
bool read_computation(std::string_view bytes, std::vector<HloOperation>& operations) {
  const size_t first = operations.size();
  std::string name;
  int64_t id = 0;
  const bool read = WireReader(bytes).read([&](const Field& field) {
    if (field.number == 1) name = field.bytes;
    if (field.number == 5) id = static_cast<int64_t>(field.integer);
    return field.number != 2 || read_operation(field.bytes, operations.emplace_back());
  });
  for (size_t i = first; i < operations.size(); ++i) {
    operations[i].computation = name;
    operations[i].computation_id = id;
  }
  return read;
}

}  // namespace

Result<std::vector<HloOperation>> read_hlo(std::string_view module_with_config) {
  std::vector<HloOperation> operations;
  // HloModuleProtoWithConfig: hlo_module 1; HloModuleProto: computations 3.
  const bool read = WireReader(module_with_config).read([&operations](const Field& field) {
    if (field.number != 1) return true;
    return WireReader(field.bytes).read([&operations](const Field& module) {
      return module.number != 3 || read_computation(module.bytes, operations);
    });
  });
  if (read && !operations.empty()) return operations;
  return Error{ErrorKind::device, "the plug-in's optimised program cannot be read"};
}

}  // namespace dunlin::pjrt

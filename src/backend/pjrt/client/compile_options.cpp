#include "backend/pjrt/client/compile_options.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace dunlin::pjrt {
namespace {

// Protocol buffers' encoding: a field is (number << 3 | wire type), then a varint (type 0), eight
// bytes (type 1), or a length and that many bytes (type 2).
class WireWriter {
 public:
  void integer(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
  }
  void number(int field, double value) {
    varint(static_cast<uint64_t>(field) << 3 | 1);
    char bytes[8];
    std::memcpy(bytes, &value, 8);
    bytes_.append(bytes, 8);
  }
  void bytes(int field, const std::string& value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  const std::string& text() const { return bytes_; }

 private:
  std::string bytes_;
};

// DeviceAssignmentProto: replica_count 1, computation_count 2, computation_devices 3 {ids 1}.
std::string device_assignment(const std::vector<int64_t>& ids) {
  WireWriter assignment;
  assignment.integer(1, 1);
  assignment.integer(2, static_cast<int64_t>(ids.size()));
  for (const int64_t id : ids) {
    WireWriter packed;
    packed.varint(static_cast<uint64_t>(id));
    WireWriter device;
    device.bytes(1, packed.text());
    assignment.bytes(3, device.text());
  }
  return assignment.text();
}

// OptionOverrideProto: string 1, bool 2, int64 3, double 4.
std::string option_override(const OptionValue& value) {
  WireWriter writer;
  if (const auto* text = std::get_if<std::string>(&value)) writer.bytes(1, *text);
  if (const auto* flag = std::get_if<bool>(&value)) writer.integer(2, *flag ? 1 : 0);
  if (const auto* integer = std::get_if<int64_t>(&value)) writer.integer(3, *integer);
  if (const auto* number = std::get_if<double>(&value)) writer.number(4, *number);
  return writer.text();
}

}  // namespace

std::string serialize(const CompileSpec& spec) {
  // ExecutableBuildOptionsProto: num_replicas 4, num_partitions 5, use_spmd_partitioning 6,
  // device_assignment 9, use_shardy_partitioner 19.
  WireWriter build;
  const auto partitions = static_cast<int64_t>(spec.device_ids.size());
  build.integer(4, 1);
  build.integer(5, partitions);
  if (partitions > 1) build.integer(6, 1);
  build.bytes(9, device_assignment(spec.device_ids));
  if (spec.shardy) build.integer(19, 1);
  // CompileOptionsProto: executable_build_options 3, env_option_overrides 7 (a map).
  WireWriter options;
  options.bytes(3, build.text());
  for (const auto& [name, value] : spec.options) {
    WireWriter entry;
    entry.bytes(1, name);
    entry.bytes(2, option_override(value));
    options.bytes(7, entry.text());
  }
  return options.text();
}

Result<std::pair<std::string, OptionValue>> parse_option(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return usage_error(fmt::format("--xla-option {}: not of the form name=value", text));
  }
  const std::string value = text.substr(equals + 1);
  OptionValue typed = value;
  if (value == "true" || value == "false") typed = value == "true";
  int64_t integer = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, integer);
  if (error == std::errc() && stop == end) typed = integer;
  return std::pair(text.substr(0, equals), typed);
}

}  // namespace dunlin::pjrt

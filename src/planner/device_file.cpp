// A device of one's own, as a JSON object with the names of Device's fields.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/byte_source.h"
#include "planner/device.h"

namespace dunlin {

namespace {

using nlohmann::json;

constexpr uint64_t kMostBytes = 1 << 20;

// Reads the fields of one object; a key that nobody asked for is an error at the end.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string place) : object_(object), place_(std::move(place)) {}

  Result<double> number(const char* key, double low, double high) {
    const json* value = find(key);
    if (value == nullptr) return missing(key);
    if (!value->is_number()) return wrong(key, "is not a number");
    const double read = value->get<double>();
    if (!(read >= low && read <= high)) {
      return wrong(key, fmt::format("is {}, outside {:g} to {:g}", read, low, high));
    }
    return read;
  }
  Result<double> number_or(const char* key, double low, double high, double fallback) {
    return has(key) ? number(key, low, high) : Result<double>(fallback);
  }
  Result<int64_t> integer_or(const char* key, int64_t low, int64_t high, int64_t fallback) {
    DUNLIN_ASSIGN_OR_RETURN(const double value,
                            number_or(key, static_cast<double>(low), static_cast<double>(high),
                                      static_cast<double>(fallback)));
    if (value != static_cast<double>(static_cast<int64_t>(value))) {
      return wrong(key, "is not a whole number");
    }
    return static_cast<int64_t>(value);
  }
  Result<std::string> text_or(const char* key, const std::string& fallback) {
    const json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) return wrong(key, "is not a text");
    return value->get<std::string>();
  }
  bool has(const char* key) { return find(key) != nullptr; }
  const json* find(const char* key) {
    known_.insert(key);
    const auto it = object_.find(key);
    return it == object_.end() ? nullptr : &*it;
  }

  Result<void> refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      if (!known_.contains(key)) {
        return usage_error(fmt::format("{}: unknown key \"{}\" (known: {})", place_, key,
                                       fmt::join(known_, ", ")));
      }
    }
    return {};
  }
  Error wrong(const char* key, const std::string& what) const {
    return usage_error(fmt::format("{}: {} {}", place_, key, what));
  }

 private:
  Error missing(const char* key) const {
    return usage_error(fmt::format("{}: {} is missing", place_, key));
  }

  const json& object_;
  std::string place_;
  std::set<std::string> known_;
};

// The object under a key; empty where the key is absent.
Result<json> object_or_empty(ObjectReader& reader, const char* key) {
  const json* value = reader.find(key);
  if (value == nullptr) return json::object();
  if (!value->is_object()) return reader.wrong(key, "is not an object");
  return *value;
}

Result<Interconnect> read_interconnect(const json& object, const std::string& place) {
  ObjectReader reader(object, place);
  Interconnect wires;
  DUNLIN_ASSIGN_OR_RETURN(wires.link_bytes_per_second,
                          reader.number_or("link_bytes_per_second", 0, 1e15, 0));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t dimensions, reader.integer_or("dimensions", 0, 3, 0));
  DUNLIN_ASSIGN_OR_RETURN(wires.wrap, reader.integer_or("wrap", 0, 1 << 20, 0));
  DUNLIN_ASSIGN_OR_RETURN(wires.most_devices, reader.integer_or("most_devices", 1, 1 << 20, 1));
  DUNLIN_ASSIGN_OR_RETURN(wires.network_bytes_per_second,
                          reader.number_or("network_bytes_per_second", 0, 1e15, 0));
  DUNLIN_ASSIGN_OR_RETURN(wires.hop_seconds, reader.number_or("hop_seconds", 0, 1, 1e-6));
  wires.dimensions = static_cast<int>(dimensions);
  DUNLIN_RETURN_IF_ERROR(reader.refuse_unknown());
  return wires;
}

Result<Efficiency> read_efficiency(const json& object, const std::string& place) {
  ObjectReader reader(object, place);
  Efficiency efficiency;
  DUNLIN_ASSIGN_OR_RETURN(efficiency.compute, reader.number_or("compute", 1e-6, 1, 1));
  DUNLIN_ASSIGN_OR_RETURN(efficiency.memory, reader.number_or("memory", 1e-6, 1, 1));
  DUNLIN_ASSIGN_OR_RETURN(efficiency.interconnect, reader.number_or("interconnect", 1e-6, 1, 1));
  DUNLIN_ASSIGN_OR_RETURN(efficiency.origin, reader.text_or("origin", place));
  DUNLIN_RETURN_IF_ERROR(reader.refuse_unknown());
  return efficiency;
}

Result<std::vector<int64_t>> read_slices(ObjectReader& reader) {
  const json* list = reader.find("slices");
  if (list == nullptr) return std::vector<int64_t>{1};
  std::vector<int64_t> slices;
  for (const json& each : list->is_array() ? *list : json::array({*list})) {
    const bool valid = each.is_number_integer() && each >= 1 && each <= (1 << 20);
    if (!valid) return reader.wrong("slices", "holds something else than numbers of devices");
    slices.push_back(each.get<int64_t>());
  }
  std::ranges::sort(slices);
  if (slices.empty()) return reader.wrong("slices", "is empty");
  return slices;
}

}  // namespace

Result<Device> read_device_file(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMostBytes));
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return usage_error(path + ": not a JSON object");
  ObjectReader reader(document, path);
  Device device;
  DUNLIN_ASSIGN_OR_RETURN(device.name, reader.text_or("name", "custom"));
  DUNLIN_ASSIGN_OR_RETURN(device.description, reader.text_or("description", path));
  DUNLIN_ASSIGN_OR_RETURN(const double memory, reader.number("memory_bytes", 1, 1e18));
  DUNLIN_ASSIGN_OR_RETURN(device.memory_bytes_per_second,
                          reader.number("memory_bytes_per_second", 1, 1e18));
  DUNLIN_ASSIGN_OR_RETURN(device.bf16_flops, reader.number("bf16_flops", 1, 1e21));
  DUNLIN_ASSIGN_OR_RETURN(device.eight_bit_ops, reader.number_or("eight_bit_ops", 0, 1e21, 0));
  DUNLIN_ASSIGN_OR_RETURN(device.slices, read_slices(reader));
  DUNLIN_ASSIGN_OR_RETURN(const json wires, object_or_empty(reader, "interconnect"));
  DUNLIN_ASSIGN_OR_RETURN(device.interconnect, read_interconnect(wires, path + ": interconnect"));
  DUNLIN_ASSIGN_OR_RETURN(const json efficiency, object_or_empty(reader, "efficiency"));
  DUNLIN_ASSIGN_OR_RETURN(device.efficiency, read_efficiency(efficiency, path + ": efficiency"));
  DUNLIN_RETURN_IF_ERROR(reader.refuse_unknown());
  device.memory_bytes = static_cast<int64_t>(memory);
  return device;
}

}  // namespace dunlin

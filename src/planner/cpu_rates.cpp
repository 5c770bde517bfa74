// Interpolation, and the rates as JSON.
#include "planner/cpu_rates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "formats/format.h"

namespace dunlin {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kRatesVersion = 2;

// Bits of an element as stored; 0 for a name that is no format.
double bits_of(std::string_view name) {
  const auto format = parse_format(name);
  if (!format) return 0;
  const FormatTraits& row = traits(*format);
  return 8 * static_cast<double>(row.block_bytes) / static_cast<double>(row.block_elements);
}

Error wrong(const std::string& origin, const std::string& key) {
  return usage_error(fmt::format("{}: {} is missing or no positive number", origin, key));
}

Result<double> positive(const Json& object, const char* key, const std::string& origin) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return wrong(origin, key);
  const double value = it->get<double>();
  if (!(value > 0) || !std::isfinite(value)) return wrong(origin, key);
  return value;
}

Result<std::string> text(const Json& object, const char* key, const std::string& origin) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) {
    return usage_error(fmt::format("{}: {} is missing or no text", origin, key));
  }
  return it->get<std::string>();
}

// The list under a key, each element an object.
Result<std::vector<Json>> objects(const Json& object, const char* key, const std::string& origin) {
  const auto it = object.find(key);
  const bool valid = it != object.end() && it->is_array() && !it->empty() &&
                     std::ranges::all_of(*it, [](const Json& each) { return each.is_object(); });
  if (!valid) {
    return usage_error(fmt::format("{}: {} is missing or no list of objects", origin, key));
  }
  return std::vector<Json>(it->begin(), it->end());
}

}  // namespace

double CpuRates::stream_bytes_per_second(double bytes) const {
  DUNLIN_CHECK(!stream.empty(), "rates without a stream");
  if (bytes <= stream.front().bytes) return stream.front().bytes_per_second;
  for (size_t i = 1; i < stream.size(); ++i) {
    if (bytes > stream[i].bytes) continue;
    const double share =
        std::log(bytes / stream[i - 1].bytes) / std::log(stream[i].bytes / stream[i - 1].bytes);
    return std::lerp(stream[i - 1].bytes_per_second, stream[i].bytes_per_second, share);
  }
  return stream.back().bytes_per_second;
}

const FormatRates& CpuRates::of(std::string_view format) const {
  DUNLIN_CHECK(!formats.empty(), "rates without formats");
  const auto exact = std::ranges::find(formats, format, &FormatRates::format);
  if (exact != formats.end()) return *exact;
  const double wanted = bits_of(format);
  return *std::ranges::min_element(formats, {}, [wanted](const FormatRates& each) {
    return std::abs(bits_of(each.format) - wanted);
  });
}

double CpuRates::peak_flops() const {
  double peak = 0;
  for (const FormatRates& each : formats) {
    peak = std::max({peak, each.prompt_flops, each.generated_flops});
  }
  return peak;
}

std::string to_json(const CpuRates& rates) {
  Json stream = Json::array();
  for (const StreamPoint& point : rates.stream) {
    stream.push_back({{"bytes", point.bytes}, {"bytes_per_second", point.bytes_per_second}});
  }
  Json formats = Json::array();
  for (const FormatRates& each : rates.formats) {
    formats.push_back({{"format", each.format},
                       {"decode_fraction", each.decode_fraction},
                       {"generated_flops", each.generated_flops},
                       {"prompt_flops", each.prompt_flops}});
  }
  Json document = {{"schema_version", kRatesVersion},
                   {"cpu", rates.cpu},
                   {"threads", rates.threads},
                   {"isa", rates.isa},
                   {"stream", stream},
                   {"formats", formats},
                   {"kv_fraction", rates.kv_fraction},
                   {"attention_flops", rates.attention_flops},
                   {"step_seconds", rates.step_seconds},
                   {"element_seconds", rates.element_seconds},
                   {"prompt_score_seconds", rates.prompt_score_seconds},
                   {"generated_score_seconds", rates.generated_score_seconds}};
  if (rates.hertz > 0) document["hertz"] = rates.hertz;
  if (rates.disk_bytes_per_second > 0)
    document["disk_bytes_per_second"] = rates.disk_bytes_per_second;
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<CpuRates> parse_cpu_rates(const std::string& text_of_file, const std::string& origin) {
  const Json document = Json::parse(text_of_file, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return usage_error(origin + ": not a JSON object");
  DUNLIN_ASSIGN_OR_RETURN(const double version, positive(document, "schema_version", origin));
  if (version != kRatesVersion) {
    return usage_error(fmt::format(
        "{}: schema_version {}, and this reads {}: `dunlin plan --calibrate` measures again",
        origin, version, kRatesVersion));
  }
  CpuRates rates;
  rates.calibrated = true;
  DUNLIN_ASSIGN_OR_RETURN(rates.cpu, text(document, "cpu", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.isa, text(document, "isa", origin));
  DUNLIN_ASSIGN_OR_RETURN(const double threads, positive(document, "threads", origin));
  rates.threads = static_cast<int>(std::min(threads, 1024.0));
  DUNLIN_ASSIGN_OR_RETURN(const auto stream, objects(document, "stream", origin));
  for (const Json& each : stream) {
    StreamPoint point;
    DUNLIN_ASSIGN_OR_RETURN(point.bytes, positive(each, "bytes", origin));
    DUNLIN_ASSIGN_OR_RETURN(point.bytes_per_second, positive(each, "bytes_per_second", origin));
    rates.stream.push_back(point);
  }
  std::ranges::sort(rates.stream, {}, &StreamPoint::bytes);
  DUNLIN_ASSIGN_OR_RETURN(const auto formats, objects(document, "formats", origin));
  for (const Json& each : formats) {
    FormatRates row;
    DUNLIN_ASSIGN_OR_RETURN(row.format, text(each, "format", origin));
    DUNLIN_ASSIGN_OR_RETURN(row.decode_fraction, positive(each, "decode_fraction", origin));
    DUNLIN_ASSIGN_OR_RETURN(row.generated_flops, positive(each, "generated_flops", origin));
    DUNLIN_ASSIGN_OR_RETURN(row.prompt_flops, positive(each, "prompt_flops", origin));
    rates.formats.push_back(row);
  }
  DUNLIN_ASSIGN_OR_RETURN(rates.kv_fraction, positive(document, "kv_fraction", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.attention_flops, positive(document, "attention_flops", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.step_seconds, positive(document, "step_seconds", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.element_seconds, positive(document, "element_seconds", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.prompt_score_seconds,
                          positive(document, "prompt_score_seconds", origin));
  DUNLIN_ASSIGN_OR_RETURN(rates.generated_score_seconds,
                          positive(document, "generated_score_seconds", origin));
  if (document.contains("hertz")) {
    DUNLIN_ASSIGN_OR_RETURN(rates.hertz, positive(document, "hertz", origin));
  }
  if (document.contains("disk_bytes_per_second")) {
    DUNLIN_ASSIGN_OR_RETURN(rates.disk_bytes_per_second,
                            positive(document, "disk_bytes_per_second", origin));
  }
  return rates;
}

}  // namespace dunlin

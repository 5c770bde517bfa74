#include "checkpoint/shard_contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/json_document.h"
#include "base/owned_json.h"
#include "base/text_checks.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;

constexpr size_t kRunNumbers = 3;

// [extent, at, begin, count, at, begin, count, ...]
Json to_json(const IndexRuns& runs) {
  Json list = Json::array();
  list.push_back(runs.extent);
  for (const IndexRun& run : runs.runs)
    for (const int64_t each : {run.at, run.begin, run.count}) list.push_back(each);
  return list;
}

bool is_natural(const Json& json) {
  return json.is_number_unsigned() && json.get<uint64_t>() <= INT64_MAX;
}

// Where a run that begins at `begin` and comes after `end` ends, if both hold.
std::optional<int64_t> end_of(int64_t begin, int64_t count, int64_t end) {
  return begin >= end ? checked_add(begin, count) : std::nullopt;
}

std::optional<IndexRuns> runs_of(const Json& json) {
  if (!json.is_array() || json.size() % kRunNumbers != 1 || !std::ranges::all_of(json, is_natural))
    return std::nullopt;
  const auto number = [&json](size_t i) { return json[i].get<int64_t>(); };
  IndexRuns runs{.extent = number(0)};
  std::optional<int64_t> part_end = 0;
  std::optional<int64_t> whole_end = 0;
  for (size_t i = 1; i < json.size(); i += kRunNumbers) {
    const IndexRun run{.at = number(i), .begin = number(i + 1), .count = number(i + 2)};
    part_end = end_of(run.at, run.count, *part_end);
    whole_end = end_of(run.begin, run.count, *whole_end);
    if (run.count == 0 || !part_end || !whole_end || *part_end > runs.extent) return std::nullopt;
    runs.runs.push_back(run);
  }
  return runs.extent > 0 ? std::optional(std::move(runs)) : std::nullopt;
}

// ["model.norm.weight", rows, columns]
std::optional<ShardPart> part_of(const Json& json, size_t runs) {
  if (!json.is_array() || json.size() != 3 || !json[0].is_string() || !is_natural(json[1]) ||
      !is_natural(json[2]))
    return std::nullopt;
  ShardPart part{.weight = json[0].get<std::string>(),
                 .rows = json[1].get<size_t>(),
                 .columns = json[2].get<size_t>()};
  if (!is_visible_ascii(part.weight) || part.rows >= runs || part.columns >= runs)
    return std::nullopt;
  return part;
}

const Json& list(const Json& object, const char* key) {
  static const Json kNone = nullptr;
  const auto it = object.find(key);
  return it != object.end() && it->is_array() ? *it : kNone;
}

}  // namespace

std::string contents_text(const ShardContents& contents) {
  Json runs = Json::array();
  for (const IndexRuns& each : contents.runs) runs.push_back(to_json(each));
  Json parts = Json::array();
  for (const ShardPart& part : contents.parts)
    parts.push_back(Json::array({part.weight, part.rows, part.columns}));
  return Json{{"place", contents.place}, {"runs", runs}, {"weights", parts}}.dump();
}

Result<ShardContents> parse_contents(const std::string& text, const std::string& origin) {
  DUNLIN_ASSIGN_OR_RETURN(const OwnedJson<Json> parsed, parse_json_object(text, origin));
  const Json& json = parsed.value;
  const auto wrong = [&origin](const char* what) {
    return model_error(fmt::format("{}: {} is missing or wrong", origin, what));
  };
  const auto place = json.find("place");
  if (place == json.end() || !place->is_string()) return wrong("place");
  ShardContents contents{.place = place->get<std::string>()};
  if (!is_visible_ascii(contents.place)) return wrong("place");
  const Json& runs = list(json, "runs");
  const Json& parts = list(json, "weights");
  if (runs.is_null()) return wrong("runs");
  if (parts.is_null()) return wrong("weights");
  for (const Json& each : runs) {
    auto read = runs_of(each);
    if (!read) return wrong("a list of runs");
    contents.runs.push_back(*std::move(read));
  }
  for (const Json& each : parts) {
    auto part = part_of(each, contents.runs.size());
    if (!part) return wrong("a weight");
    contents.parts.push_back(*std::move(part));
  }
  return contents;
}

}  // namespace dunlin

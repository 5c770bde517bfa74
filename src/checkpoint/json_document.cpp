// Parses the JSON files of a model, with limits.
#include "checkpoint/json_document.h"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "base/owned_json.h"
#include "checkpoint/text_checks.h"

namespace dunlin {
namespace {

constexpr int kDepthLimit = 64;

// Brackets outside strings, counted before the parser sees the text.
bool nests_too_deeply(const std::string& text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '{' || c == '[')) {
      if (++depth > kDepthLimit) return true;
    } else if (!in_string && (c == '}' || c == ']')) {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<nlohmann::json> parse_json_object(const std::string& text, const std::string& origin) {
  using nlohmann::json;
  if (nests_too_deeply(text)) {
    return model_error(fmt::format("{}: nested deeper than {} levels", origin, kDepthLimit));
  }
  std::vector<std::unordered_set<std::string>> keys;
  std::string repeated;
  const auto note_keys = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && repeated.empty()) repeated = quoted_text(key);
    }
    return true;
  };
  try {
    OwnedJson<json> document = parse_json<json>(text, note_keys);
    if (!repeated.empty())
      return model_error(fmt::format("{}: the key {} occurs twice", origin, repeated));
    if (!document.value.is_object())
      return model_error(fmt::format("{}: not a JSON object", origin));
    return std::move(document.value);
  } catch (const json::exception& problem) {
    return model_error(fmt::format("{}: not valid JSON: {}", origin, quoted_text(problem.what())));
  }
}

}  // namespace dunlin

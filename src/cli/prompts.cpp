#include "cli/prompts.h"

#include <fmt/format.h>

#include <charconv>

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

Result<Prompt> prompt_of_json(const Json& object, const std::string& where) {
  Prompt prompt;
  if (object.contains("ids")) {
    DUNLIN_ASSIGN_OR_RETURN(prompt.ids, ids_of_json(object["ids"], where));
  } else if (object.contains("messages")) {
    if (!object["messages"].is_array())
      return usage_error(fmt::format("{}: messages is not an array", where));
    prompt.messages = object["messages"];
  } else if (object.contains("prompt") && object["prompt"].is_string()) {
    prompt.text = object["prompt"].get<std::string>();
  } else {
    return usage_error(
        fmt::format("{}: an object needs \"prompt\", \"messages\" or \"ids\"", where));
  }
  return prompt;
}

}  // namespace

Result<std::vector<int32_t>> ids_of_json(const Json& value, const std::string& where) {
  std::vector<int32_t> ids;
  if (!value.is_array()) return usage_error(fmt::format("{}: ids is not an array", where));
  for (const Json& item : value) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      return usage_error(
          fmt::format("{}: ids holds {}, which is not a token id", where, item.dump()));
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

Result<std::vector<int32_t>> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    if (*at == ' ' || *at == ',' || *at == '[' || *at == ']') {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0)
      return usage_error(fmt::format("\"{}\" is not a list of token ids", text));
    ids.push_back(id);
    at = next;
  }
  if (ids.empty()) return usage_error("the list of token ids is empty");
  return ids;
}

Result<std::vector<Prompt>> read_prompts(std::istream& input, const std::string& origin) {
  std::vector<Prompt> prompts;
  std::string line;
  for (int64_t number = 1; std::getline(input, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const Json object =
        line.front() == '{' ? Json::parse(line, nullptr, /*allow_exceptions=*/false) : Json();
    if (object.is_object()) {
      DUNLIN_ASSIGN_OR_RETURN(auto prompt,
                              prompt_of_json(object, fmt::format("{}:{}", origin, number)));
      prompts.push_back(std::move(prompt));
    } else {
      prompts.push_back({.text = line});
    }
  }
  if (prompts.empty()) return usage_error(fmt::format("{}: no prompts", origin));
  return prompts;
}

Result<std::vector<int32_t>> encode_prompt(const Prompt& prompt, const TextModel& text,
                                           const std::string& system, bool raw) {
  if (prompt.ids.has_value()) return *prompt.ids;
  if (prompt.messages.has_value()) return text.encode_chat(*prompt.messages);
  if (raw) return text.encode_raw(prompt.text);
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  messages.push_back({{"role", "user"}, {"content", prompt.text}});
  return text.encode_chat(messages);
}

}  // namespace dunlin

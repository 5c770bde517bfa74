#include "cli/prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json_document.h"
#include "cli/chat_settings.h"
#include "cli/numbers.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMostBatchBytes = 1u << 30;

constexpr std::array<const char*, 3> kSources = {"prompt", "messages", "ids"};

Result<Prompt> source_of_json(const Json& object, const std::string& where) {
  std::vector<const char*> given;
  for (const char* const key : kSources) {
    if (object.contains(key)) given.push_back(key);
  }
  if (given.size() != 1) {
    return usage_error(
        fmt::format("{}: an object needs one of \"prompt\", \"messages\" and "
                    "\"ids\", and has {}",
                    where, given.empty() ? "none" : fmt::format("{}", fmt::join(given, " and "))));
  }
  const std::string key = given.front();
  const Json& value = object[key];
  if (key == "ids") {
    DUNLIN_ASSIGN_OR_RETURN(auto ids, ids_of_json(value, where));
    return Prompt{.ids = std::move(ids)};
  }
  if (key == "messages") {
    if (!value.is_array()) return usage_error(where + ": messages is not an array");
    return Prompt{.messages = value};
  }
  if (!value.is_string()) return usage_error(where + ": prompt is not a string");
  return Prompt{.text = value.get<std::string>()};
}

// A text or a list of texts.
Result<std::vector<std::string>> stop_of_json(const Json& value, const std::string& where) {
  const Json list = value.is_array() ? value : Json::array({value});
  std::vector<std::string> texts;
  for (const Json& each : list) {
    if (!each.is_string() || each.get_ref<const std::string&>().empty())
      return usage_error(where + ": stop is neither a text nor a list of texts");
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

Result<Prompt> prompt_of_json(const std::string& line, const std::string& where) {
  const auto parsed = parse_ordered_json_object(line, where);
  if (!parsed.ok())
    return usage_error(parsed.error().message + "; a line of text cannot begin with {");
  DUNLIN_ASSIGN_OR_RETURN(Prompt prompt, source_of_json(*parsed, where));
  ChatSettings checked;
  for (const auto& [key, value] : parsed->items()) {
    if (std::ranges::find(kSources, std::string_view(key)) != kSources.end()) continue;
    if (key == "stop") {
      DUNLIN_ASSIGN_OR_RETURN(prompt.stop, stop_of_json(value, where));
      continue;
    }
    prompt.settings.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    const auto set = checked.set(key, prompt.settings.back().second, INT32_MAX);
    if (!set.ok()) return set.error().with_context(where);
  }
  return prompt;
}

// A text of the user's for a message.
std::string shortened(const std::string& text) {
  constexpr size_t kLongest = 60;
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

bool begins_an_object(std::string_view line) {
  const size_t at = line.find_first_not_of(" \t");
  return at != std::string_view::npos && line[at] == '{';
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
  const Error wrong = usage_error(
      fmt::format("--prompt-ids {}: not a list of token ids such as 1,2,3", shortened(text)));
  std::string_view list = text;
  if (list.starts_with('[') && list.ends_with(']')) list = list.substr(1, list.size() - 2);
  std::vector<int32_t> ids;
  for (bool more = true; more;) {
    const size_t comma = list.find(',');
    std::string_view word = list.substr(0, comma);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    int32_t id = 0;
    if (!parse_number(word, id).empty() || id < 0) return wrong;
    ids.push_back(id);
    more = comma != std::string_view::npos;
    if (more) list.remove_prefix(comma + 1);
  }
  return ids;
}

Result<std::vector<Result<Prompt>>> read_prompts(LineReader& input) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  std::vector<Result<Prompt>> prompts;
  std::string line;
  uint64_t bytes = 0;
  for (int64_t number = 1;; ++number) {
    DUNLIN_ASSIGN_OR_RETURN(LineReader::Status status, input.read(line));
    while (status == LineReader::Status::interrupted) {
      DUNLIN_ASSIGN_OR_RETURN(status, input.read(line));
    }
    if (status == LineReader::Status::end) break;
    if (number == 1 && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
    if (line.empty()) continue;
    bytes += line.size();
    if (bytes > kMostBatchBytes)
      return usage_error(
          fmt::format("{}: more than {} bytes of prompts", input.name(), kMostBatchBytes));
    const std::string where = fmt::format("{}:{}", input.name(), number);
    prompts.push_back(begins_an_object(line) ? prompt_of_json(line, where)
                                             : Result<Prompt>(Prompt{.text = line}));
    if (prompts.back().ok()) prompts.back()->where = where;
  }
  if (prompts.empty()) return usage_error(fmt::format("{}: no prompts", input.name()));
  return prompts;
}

Result<std::vector<int32_t>> encode_prompt(const Prompt& prompt, const TextModel& text,
                                           const PromptFormat& format) {
  if (prompt.ids.has_value()) return *prompt.ids;
  if (prompt.messages.has_value()) {
    if (format.raw)
      return usage_error("\"messages\" need the chat template, which --raw turns off");
    return text.encode_chat(*prompt.messages, format.effort);
  }
  if (format.raw) return text.encode_raw(prompt.text);
  Json messages = Json::array();
  if (!format.system.empty()) messages.push_back({{"role", "system"}, {"content", format.system}});
  messages.push_back({{"role", "user"}, {"content", prompt.text}});
  return text.encode_chat(messages, format.effort);
}

}  // namespace dunlin

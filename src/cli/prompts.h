// Prompts as people write them: text, JSON lines, or token ids.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/line_reader.h"
#include "engine/text_model.h"

namespace dunlin {

// One prompt as it was given: token ids, a conversation, or text; and what its line of a batch sets
// besides.
struct Prompt {
  std::optional<std::vector<int32_t>> ids = std::nullopt;
  std::optional<nlohmann::ordered_json> messages = std::nullopt;
  std::string text = {};
  std::vector<std::pair<std::string, std::string>> settings = {};  // for ChatSettings::set()
  std::optional<std::vector<std::string>> stop = std::nullopt;     // instead of --stop
  std::string where = {};  // "prompts.jsonl:3", for errors; empty outside a batch
};

// "1,2,3", in brackets or not.
Result<std::vector<int32_t>> parse_ids(const std::string& text);

// The ids of a JSON array; `where` names its place in errors.
Result<std::vector<int32_t>> ids_of_json(const nlohmann::ordered_json& value,
                                         const std::string& where);

// One prompt a line. A line that begins with { is a JSON object with "prompt" (text), "messages" (a
// conversation) or "ids", and settings for its answer: "stop", and the names of ChatSettings, such as
// "max_tokens". Any other line is the text itself. Empty lines are left out. A line that is no
// prompt, or sets what there is not, has an error (kind usage) that begins with `name:line`; an input
// that cannot be read or holds none is an error as a whole.
Result<std::vector<Result<Prompt>>> read_prompts(LineReader& input);

// How text becomes a prompt.
struct PromptFormat {
  std::string system = {};  // the system prompt; empty: none
  bool raw = false;         // without chat format
  std::optional<harmony::ReasoningEffort> effort = std::nullopt;
};

// Token ids of a prompt. Text becomes a user message, with the system prompt before it, unless it is
// raw.
Result<std::vector<int32_t>> encode_prompt(const Prompt& prompt, const TextModel& text,
                                           const PromptFormat& format);

}  // namespace dunlin

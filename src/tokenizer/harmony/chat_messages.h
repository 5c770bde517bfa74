// Conversations as chat programs and servers have them (OpenAI's chat completions, transformers'
// templates), as messages of Harmony.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "tokenizer/harmony/message.h"

namespace dunlin::harmony {

struct ChatSettings {
  ReasoningEffort effort = ReasoningEffort::medium;
  std::optional<std::string> date = std::nullopt;  // "2025-06-28"
};

// The messages behind a system message of Harmony's own:
//
//   "system", "developer"  instructions of the developer; the first of them has the tools, too
//   "user"                 as it is, with its "name"
//   "assistant"            "reasoning" (or "reasoning_content", "thinking") on the channel analysis;
//                          "content" on final, or on commentary where "tool_calls" follow; each
//                          call on commentary, its arguments as constrained JSON
//   "tool"                 the result of functions.NAME, where NAME is its "name" or that of the call
//                          with its "tool_call_id", or else of the last call
//
// A content is a text, null, or a list of parts {"type":"text","text":...}. `tools` is null or a list
// of {"type":"function","function":{"name","description","parameters"}}. Errors (kind usage) name the
// message and the field.
Result<Conversation> read_chat(const nlohmann::ordered_json& messages,
                               const nlohmann::ordered_json& tools, const ChatSettings& settings);

}  // namespace dunlin::harmony

// A conversation in a file: its messages, and the KV cache that holds them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "engine/engine.h"

namespace dunlin {

struct ChatFileSummary {
  size_t messages = 0;
  int64_t cached = 0;  // tokens whose KV cache is in the file, and was taken over
  // Why none was: "the model and the precision are others"; empty when it was, or when none is
  // there.
  std::string why_not_cached = {};
  bool has_cache = true;  // false: the model keeps none from one answer to the next
};

// Writes the messages and what the session holds. Errors (kind runtime): a file that cannot be
// written, or one that is there and is no conversation, not even a damaged one.
Result<ChatFileSummary> save_chat(const std::string& path, const nlohmann::ordered_json& messages,
                                  SessionId session, const Engine& engine);

// Reads the messages, and gives the session what was saved with them when it was saved for this
// model, precision and back end. Errors (kind runtime, or usage where it does not fit the context)
// leave `messages` as they were.
Result<ChatFileSummary> load_chat(const std::string& path, nlohmann::ordered_json& messages,
                                  SessionId session, Engine& engine);

// The same of the messages alone. Each reads what the other has written.
Result<ChatFileSummary> save_messages(const std::string& path,
                                      const nlohmann::ordered_json& messages);
Result<ChatFileSummary> load_messages(const std::string& path, nlohmann::ordered_json& messages);

}  // namespace dunlin

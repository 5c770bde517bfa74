// Who answers in a chat: a model that writes token after token, or one that fills in masks.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"
#include "cli/answer.h"
#include "cli/chat_file.h"
#include "cli/chat_settings.h"
#include "decode/diffusion_params.h"
#include "engine/model.h"

namespace dunlin {

struct ChatOptions;

class ChatPartner {
 public:
  virtual ~ChatPartner() = default;

  // Answers answer.prompt_ids. `go_on` is asked before every step; once it says no, the answer is what
  // there is. Returns whether the answer came to its end. Errors: of the request, of the device.
  virtual Result<bool> generate(const ChatSettings& settings, const std::function<bool()>& go_on,
                                Answer& answer) = 0;

  // As save_chat() and load_chat().
  virtual Result<ChatFileSummary> save(const std::string& path,
                                       const nlohmann::ordered_json& messages) = 0;
  virtual Result<ChatFileSummary> load(const std::string& path,
                                       nlohmann::ordered_json& messages) = 0;
};

// An engine of which the conversation is a session. `options` and `model` outlive the partner; the
// first use of `options` is after they are complete. Errors: no memory for the KV cache.
Result<std::unique_ptr<ChatPartner>> make_token_partner(const ChatOptions& options, Model& model);

// What a chat with a model that fills in masks needs besides.
struct CanvasChatOptions {
  DiffusionParams params = {};  // what /set does not know
  bool steps_follow_tokens = true;
  bool early_exit = true, stream = false, visual = false, quiet = false;
};

// Every answer is a canvas behind the conversation: nothing is kept from one to the next. Errors: a
// tokenizer without the mask, no memory for the KV cache.
Result<std::unique_ptr<ChatPartner>> make_canvas_partner(const ChatOptions& options,
                                                         CanvasChatOptions canvas, Model& model);

}  // namespace dunlin

// A conversation with a model: messages in, answers out, and commands.
//
// With a model that writes token after token all turns belong to one session of the engine, which
// computes only from the first token that differs from what it has: usually the answer's last token
// and the new message. An answer goes back into the conversation as text; where its text encodes to
// other ids than were generated, the difference begins there.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/answer.h"
#include "cli/chat_input.h"
#include "cli/chat_partner.h"
#include "cli/chat_settings.h"
#include "engine/model.h"
#include "tokenizer/harmony/message.h"

namespace dunlin {

struct ChatOptions {
  std::string system = {};
  std::vector<std::string> stop = {};
  bool ignore_eos = false;
  bool single_turn = false;
  bool json = false;
  bool quiet = false;
  bool show_reasoning = false;
  std::optional<harmony::ReasoningEffort> effort = {};
};

// One line each: the commands, and what else a person should know.
extern const char* const kChatHelp;
// "/help", ...
const std::vector<std::string>& chat_commands();

class Chat {
 public:
  // All outlive the chat.
  Chat(const ChatOptions& options, const Model& model, ChatPartner& partner, ChatInput& input,
       ChatSettings settings);

  // Until the input ends. Returns the exit code. At a terminal errors are reported and the
  // conversation goes on; otherwise the first one ends it, since nobody is there to react.
  Result<int> converse();

 private:
  Result<void> handle(const Message& message);
  Result<void> run_command(const std::string& name, const std::string& argument);
  int interrupted_while_waiting();
  void set_system(const std::string& text);
  void clear();
  Result<void> set(const std::string& argument);
  Result<void> save(const std::string& argument);
  Result<void> load(const std::string& argument);
  void print_stats() const;

  Result<void> say(const std::string& text);
  Result<void> regenerate();
  Result<void> answer();
  Result<void> generate(Answer& answer);
  void finish(Answer& answer);

  const ChatOptions& options_;
  const Model& model_;
  ChatPartner& partner_;
  ChatInput& input_;
  ChatSettings settings_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  Answer last_;
  bool interrupted_ = false;  // by Ctrl-C, since the last message
  int leave_ = 0;             // exit code of a signal that ends the conversation
};

}  // namespace dunlin

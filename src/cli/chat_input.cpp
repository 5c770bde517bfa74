#include "cli/chat_input.h"

#include <unistd.h>

#include "base/user_folders.h"
#include "cli/chat_history.h"
#include "cli/terminal.h"

namespace dunlin {

Result<ChatInput> ChatInput::create(std::vector<std::string> commands, bool keep_history) {
  ChatInput input(STDIN_FILENO);
  input.interactive_ = stdin_is_terminal();
  // The line is shown on stderr while it is edited.
  if (!input.interactive_ || !stderr_is_terminal()) return input;
  DUNLIN_ASSIGN_OR_RETURN(input.editor_, LineEditor::create(std::move(commands)));
  const auto folder = state_folder();
  if (keep_history && folder.has_value()) {
    input.history_ = *folder + "/chat_history";
    for (const std::string& entry : read_history(input.history_)) input.editor_->remember(entry);
  }
  return input;
}

Result<LineReader::Status> ChatInput::read(Message& message) {
  const NextLine next = [this](bool continued, std::string& line) {
    return editor_ == nullptr ? reader_.read(line) : editor_->read(continued ? ". " : "> ", line);
  };
  const auto status = read_message(next, message);
  if (editor_ != nullptr && status.ok() && *status == LineReader::Status::line) remember(message);
  return status;
}

// A history that cannot be kept is said once; the chat goes on.
void ChatInput::remember(const Message& message) {
  if (message.text.empty()) return;
  editor_->remember(message.text);
  if (history_.empty()) return;
  if (const auto added = append_history(history_, message.text); !added.ok()) {
    note("warning: the history is not kept: {}\n", added.error().message);
    history_.clear();
  }
}

}  // namespace dunlin

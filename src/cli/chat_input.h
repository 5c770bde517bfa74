// Where the messages of a chat come from: a person at a terminal, with editing and a history that
// outlives the chat, or a pipe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/line_editor.h"
#include "cli/line_reader.h"

namespace dunlin {

class ChatInput {
 public:
  // `commands` complete with Tab. Without `keep_history` nothing is read from or written to the
  // history file.
  static Result<ChatInput> create(std::vector<std::string> commands, bool keep_history);

  // Whether a person is there.
  bool interactive() const { return interactive_; }
  Result<LineReader::Status> read(Message& message);

 private:
  explicit ChatInput(int descriptor) : reader_(descriptor) {}

  void remember(const Message& message);

  LineReader reader_;
  bool interactive_ = false;
  std::unique_ptr<LineEditor> editor_ = nullptr;
  std::string history_ = {};  // path; empty: none
};

}  // namespace dunlin

// Lines and messages from a file descriptor. Unlike a stream, it lets a signal end the wait.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"

namespace dunlin {

class LineReader {
 public:
  explicit LineReader(int descriptor, std::string name = "stdin")
      : descriptor_(descriptor), name_(std::move(name)) {}

  enum class Status { line, end, interrupted };
  // The next line without its line feed (and carriage return); the last one needs none.
  // interrupted: a signal came while waiting, and nothing is lost. Errors: the descriptor cannot be
  // read, a line longer than kMaxLine.
  Result<Status> read(std::string& line);

  const std::string& name() const { return name_; }

  static constexpr size_t kMaxLine = 16u << 20;  // bytes

 private:
  int descriptor_;
  std::string name_;  // for messages
  bool ended_ = false;
  std::string buffer_ = {};
  size_t searched_ = 0;  // bytes of the buffer without a line feed
};

struct Message {
  std::string text = {};
  bool quoted = false;  // between """ marks, and so never a command
};

// Gives the next line; `continued` says whether it continues a message.
using NextLine = std::function<Result<LineReader::Status>(bool continued, std::string& line)>;

// One message: a line; lines joined by line feeds while they end in a backslash, which is dropped;
// or everything between """ at the beginning of a line and """ at the end of one. Input that ends
// inside a message ends the message. A line that was pasted may have line feeds of its own.
Result<LineReader::Status> read_message(const NextLine& next, Message& message);

}  // namespace dunlin

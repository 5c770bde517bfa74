// Lines from a person at a terminal: editing, history and pasted text, with libedit. The prompt and
// the line are shown on stderr, so that stdout keeps to the answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/line_reader.h"

namespace dunlin {

class LineEditor {
 public:
  // `commands` complete with Tab at the beginning of a line.
  static Result<std::unique_ptr<LineEditor>> create(std::vector<std::string> commands);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line as UTF-8. What is pasted is part of one line, with its line feeds. interrupted: a
  // signal came; what was typed is gone. end: Ctrl-D on an empty line, also one that was typed since
  // the last line, or the terminal has gone.
  Result<LineReader::Status> read(const std::string& prompt, std::string& line);

  // The newest entry of the history that the arrow keys and Ctrl-R look through.
  void remember(const std::string& entry);

 private:
  struct State;
  explicit LineEditor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dunlin

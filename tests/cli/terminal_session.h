// The binary at a terminal of its own, as a person sees it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "process.h"

namespace dunlin {

class TerminalSession {
 public:
  // stdout goes to the file `output` when that is not empty, else to the terminal.
  TerminalSession(const std::vector<std::string>& arguments,
                  std::map<std::string, std::string> environment, const std::string& output = {});
  ~TerminalSession();
  TerminalSession(const TerminalSession&) = delete;
  TerminalSession& operator=(const TerminalSession&) = delete;

  void type(const std::string& keys);
  void send(int signal) const;
  // Whether the text appears after what earlier calls have seen, within a minute.
  bool shows(const std::string& text);
  // Everything that was shown.
  const std::string& screen() const { return screen_; }
  // Waits for the end, a minute at most; as a shell reports it.
  int exit_code();

 private:
  bool read_some();

  int terminal_ = -1;
  pid_t child_ = -1;
  std::string screen_ = {};
  size_t seen_ = 0;
};

}  // namespace dunlin

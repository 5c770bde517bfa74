// Runs the `dunlin` binary the way a shell does, for tests of what it prints and returns.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dunlin {

struct ProcessResult {
  int code = -1;  // as a shell reports it: 128 + signal for a process that a signal ended
  std::string out;
  std::string err;

  nlohmann::json json() const;  // of `out`; discarded when it is not JSON
  std::vector<nlohmann::json> json_lines() const;
};

struct ProcessInput {
  enum class Stdin { file, pipe, silent_pipe, closed };

  std::string text = {};                                // on stdin
  std::map<std::string, std::string> environment = {};  // added to the test's own
  Stdin in = Stdin::file;       // silent_pipe: nobody writes to it, and nobody closes it
  std::string output = {};      // what stdout is, instead of a file; "closed": not open
  void (*prepare)() = nullptr;  // in the new process, before the program starts
};

// Without variables of dunlin from outside, and with configuration, state, compiled programs and packed
// weights in an empty folder.
ProcessResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProcessInput& input = {});
ProcessResult run_dunlin(const std::vector<std::string>& arguments, const ProcessInput& input = {});

std::string read_all(const std::string& path);
void write_all(const std::string& path, const std::string& text);

}  // namespace dunlin

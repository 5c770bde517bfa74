#include "process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

void redirect(const std::string& path, int flags, int descriptor) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(127);
  if (file != descriptor) ::close(file);
}

// The writing end of a pipe whose reading end is the child's stdin; -1 for stdin that is no pipe.
struct Pipe {
  int ends[2] = {-1, -1};
};

void connect_stdin(const ProcessInput& input, const std::string& file, const Pipe& pipe) {
  if (input.in == ProcessInput::Stdin::closed) {
    ::close(STDIN_FILENO);
  } else if (input.in == ProcessInput::Stdin::file) {
    redirect(file, O_RDONLY, STDIN_FILENO);
  } else {
    ::dup2(pipe.ends[0], STDIN_FILENO);
    ::close(pipe.ends[0]);
    ::close(pipe.ends[1]);
  }
}

void set_environment(const ProcessInput& input, const std::string& folder) {
  for (char** each = environ; *each != nullptr;) {
    const std::string variable = *each;
    if (variable.starts_with("DUNLIN_ARG_")) {
      ::unsetenv(variable.substr(0, variable.find('=')).c_str());
      each = environ;
    } else {
      ++each;
    }
  }
  for (const char* name : {"XDG_CONFIG_HOME", "XDG_STATE_HOME"}) ::setenv(name, folder.c_str(), 1);
  ::setenv("DUNLIN_COMPILE_CACHE", (folder + "/compiled").c_str(), 1);
  ::setenv("DUNLIN_PACK_CACHE", (folder + "/packed").c_str(), 1);
  for (const auto& [name, value] : input.environment) ::setenv(name.c_str(), value.c_str(), 1);
}

[[noreturn]] void run_child(const ProcessInput& input, const std::string& folder, const Pipe& pipe,
                            char* const* argv) {
  if (input.output == "closed") {
    ::close(STDOUT_FILENO);
  } else {
    redirect(input.output.empty() ? folder + "/out" : input.output, O_WRONLY | O_CREAT,
             STDOUT_FILENO);
  }
  redirect(folder + "/err", O_WRONLY | O_CREAT, STDERR_FILENO);
  connect_stdin(input, folder + "/in",
                pipe);  // last: what is opened takes the place of a closed one
  set_environment(input, folder);
  if (input.prepare != nullptr) input.prepare();
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

nlohmann::json ProcessResult::json() const {
  return nlohmann::json::parse(out, nullptr, /*allow_exceptions=*/false);
}

std::vector<nlohmann::json> ProcessResult::json_lines() const {
  std::vector<nlohmann::json> values;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);)
    values.push_back(nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false));
  return values;
}

ProcessResult run_dunlin(const std::vector<std::string>& arguments, const ProcessInput& input) {
  return run_program(DUNLIN_BINARY, arguments, input);
}

ProcessResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProcessInput& input) {
  const TemporaryFolder folder;
  write_all(folder.file("in"), input.text);
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  Pipe pipe;
  const bool piped =
      input.in == ProcessInput::Stdin::pipe || input.in == ProcessInput::Stdin::silent_pipe;
  if (piped && ::pipe(pipe.ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) run_child(input, folder.path(), pipe, argv.data());
  if (piped) ::close(pipe.ends[0]);
  if (input.in == ProcessInput::Stdin::pipe) {
    // At most a pipe's buffer.
    if (::write(pipe.ends[1], input.text.data(), input.text.size()) < 0)
      throw std::runtime_error("nobody reads");
    ::close(pipe.ends[1]);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (input.in == ProcessInput::Stdin::silent_pipe) ::close(pipe.ends[1]);
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = read_all(folder.file("out")),
          .err = read_all(folder.file("err"))};
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_all(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace dunlin

#include "terminal_session.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace dunlin {
namespace {

constexpr std::chrono::seconds kPatience{60};

}  // namespace

TerminalSession::TerminalSession(const std::vector<std::string>& arguments,
                                 std::map<std::string, std::string> environment,
                                 const std::string& output) {
  environment.emplace("TERM", "xterm");
  environment.emplace("LC_ALL", "C");
  environment.emplace("DUNLIN_PACK_CACHE", "");  // nothing is kept
  std::vector<std::string> words = {DUNLIN_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  child_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
  if (child_ < 0) throw std::runtime_error("no terminal");
  if (child_ == 0) {
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    if (!output.empty()) {
      const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(file, STDOUT_FILENO);
    }
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
}

TerminalSession::~TerminalSession() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  ::close(terminal_);
}

void TerminalSession::type(const std::string& keys) {
  if (::write(terminal_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
    throw std::runtime_error("the terminal takes nothing");
}

void TerminalSession::send(int signal) const {
  ::kill(child_, signal);
}

bool TerminalSession::read_some() {
  pollfd event = {.fd = terminal_, .events = POLLIN, .revents = 0};
  if (::poll(&event, 1, 100) <= 0) return true;
  std::array<char, 4096> block;
  const ssize_t count = ::read(terminal_, block.data(), block.size());
  if (count <= 0) return false;
  screen_.append(block.data(), static_cast<size_t>(count));
  return true;
}

bool TerminalSession::shows(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (bool open = true; open && std::chrono::steady_clock::now() < deadline;) {
    if (const size_t at = screen_.find(text, seen_); at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    open = read_some();
  }
  return false;
}

int TerminalSession::exit_code() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  int status = 0;
  while (::waitpid(child_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) ::kill(child_, SIGKILL);
    if (!read_some()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace dunlin

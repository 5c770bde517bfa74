// The child is started anew and not forked, as this process may have threads, which a copy of it would
// not have. It is bound to this process by its socket and not by PR_SET_PDEATHSIG, which would end it
// with the thread that started it.
#include "backend/pjrt/isolate/plugin_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "backend/pjrt/pjrt_backend.h"

namespace dunlin::pjrt {
namespace {

// How the child is started. What a plug-in prints goes to stderr, as stdout is the product. It gets no
// other file of this process: a program that uses the library may have locks, pipes and sockets open.
// Signals that a terminal or a supervisor sends to all processes of a program are the parent's to
// answer: they stay blocked, in the plug-in's threads too.
class StartSettings {
 public:
  explicit StartSettings(int socket) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_adddup2(&actions_, socket, kPluginHostSocket);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (::fcntl(STDERR_FILENO, F_GETFD) >= 0)
      ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, kPluginHostSocket + 1);
    ::posix_spawnattr_init(&attributes_);
    sigset_t blocked;
    ::sigemptyset(&blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP})
      ::sigaddset(&blocked, signal);
    ::posix_spawnattr_setsigmask(&attributes_, &blocked);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~StartSettings() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  StartSettings(const StartSettings&) = delete;
  StartSettings& operator=(const StartSettings&) = delete;

  // An errno; 0 when `process` runs.
  int start(const std::string& program, pid_t& process) const {
    std::string name = "dunlin";
    std::string command = kPluginHostCommand;
    char* const arguments[] = {name.data(), command.data(), nullptr};
    return ::posix_spawn(&process, program.c_str(), &actions_, &attributes_, arguments, environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::string ending_of(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return fmt::format("ended with signal {} ({})", signal, ::strsignal(signal));
  }
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

Result<std::unique_ptr<PluginProcess>> PluginProcess::start(const std::string& program) {
  DUNLIN_ASSIGN_OR_RETURN(auto sockets, Channel::make_sockets());
  pid_t child = 0;
  const int code = StartSettings(sockets.second.get()).start(program, child);
  if (code != 0) {
    return Error{ErrorKind::device,
                 fmt::format("{}: cannot be started as the process of a plug-in: {}", program,
                             std::strerror(code))};
  }
  // This process's copy of the child's end goes: it is then the child's alone, and ends with it.
  sockets.second = FileDescriptor();
  std::unique_ptr<PluginProcess> process(
      new PluginProcess(child, ::getpid(), Channel(std::move(sockets.first))));
  DUNLIN_RETURN_IF_ERROR(process->await_greeting(program));
  return process;
}

Result<void> PluginProcess::await_greeting(const std::string& program) {
  Message message;
  const Transfer got = control_.receive(message, std::chrono::steady_clock::now() + kStartTime);
  const bool greeted = got == Transfer::done && message.kind == kGreetingKind;
  if (greeted && message.fields == kGreeting) return {};
  std::string problem = "it is another version";
  if (!greeted)
    problem = got == Transfer::closed ? "it " + ending() : "it did not say that it is one";
  return Error{ErrorKind::device,
               fmt::format("{}: is no `dunlin` of this build that a plug-in could run in: {}",
                           program, problem)};
}

PluginProcess::~PluginProcess() {
  if (owner_ != ::getpid()) return;
  kill();
}

Transfer PluginProcess::give(const FileDescriptor& socket) {
  return control_.send_descriptor(socket.get(), std::chrono::steady_clock::now() + kStartTime);
}

void PluginProcess::kill() {
  if (is_gone()) return;
  ::kill(process_, SIGKILL);
  // One that even this does not end, as in a driver that hangs, is left behind.
  if (!await_end()) ending_ = "does not end";
}

const std::string& PluginProcess::ending() {
  if (!await_end()) {
    kill();
    ending_ = "closed its sockets";
  }
  return ending_;
}

bool PluginProcess::is_gone() {
  if (!ending_.empty()) return true;
  int status = 0;
  const pid_t ended = ::waitpid(process_, &status, WNOHANG);
  if (ended == process_) {
    ending_ = ending_of(status);
  } else if (ended < 0 && errno != EINTR) {
    ending_ = "ended";  // someone else in this process has waited for it, and knows how
  }
  return !ending_.empty();
}

bool PluginProcess::await_end() {
  const auto deadline = std::chrono::steady_clock::now() + kEndTime;
  std::chrono::milliseconds pause{1};
  while (!is_gone()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(50));
  }
  return true;
}

}  // namespace dunlin::pjrt

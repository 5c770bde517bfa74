#include "cli/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <initializer_list>

namespace dunlin {
namespace {

volatile std::sig_atomic_t g_signal = 0;
// A signal writes to it, so that poll() sees one that came just before, or to another thread.
int g_pipe[2] = {-1, -1};

void on_signal(int signal) {
  if (g_signal == signal) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_signal = signal;
  const int before = errno;
  [[maybe_unused]] const ssize_t written = ::write(g_pipe[1], "", 1);  // a full one is as good
  errno = before;
}

}  // namespace

void catch_interrupts() {
  // Without it poll() ends only for a signal that comes while it waits.
  if (g_pipe[0] < 0 && ::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) != 0) g_pipe[0] = g_pipe[1] = -1;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  // A write that a reader or a limit on the size of files ends is an error, not the end.
  for (const int signal : {SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
}

int pending_interrupt() {
  return g_signal;
}
void clear_interrupt() {
  g_signal = 0;
}
int exit_code_of_signal(int signal) {
  return 128 + signal;
}

bool wait_for_input(int descriptor) {
  char byte = 0;
  while (::read(g_pipe[0], &byte, 1) > 0) {
  }
  if (g_signal != 0) return false;
  if (descriptor < 0) return true;  // poll() would wait for nothing; a read says what is wrong
  std::array<pollfd, 2> events = {{{.fd = descriptor, .events = POLLIN, .revents = 0},
                                   {.fd = g_pipe[0], .events = POLLIN, .revents = 0}}};
  return ::poll(events.data(), events.size(), -1) >= 0 && events[1].revents == 0;
}

}  // namespace dunlin

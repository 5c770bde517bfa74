#include "cli/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace dunlin {
namespace {

volatile std::sig_atomic_t g_signal = 0;

void on_signal(int signal) {
  if (g_signal == signal) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_signal = signal;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
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

}  // namespace dunlin

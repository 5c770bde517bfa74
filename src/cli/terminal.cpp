#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace dunlin {

bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}
bool stdin_is_terminal() {
  return ::isatty(STDIN_FILENO) == 1;
}
bool stdout_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}

int finish_stdout(int exit_code) {
  errno = 0;
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written || errno == EPIPE) return exit_code;
  note("error: stdout: {}\n", errno == 0 ? "not all of it could be written" : std::strerror(errno));
  return exit_code == 0 ? 1 : exit_code;
}

int report_error(const Error& error) {
  note("error: {}\n", error.message);
  return static_cast<int>(error.kind);
}

void ProgressBar::update(double fraction, const std::string& what) {
  const auto now = Clock::now();
  if (!enabled_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  constexpr int kWidth = 30;
  const double part = std::clamp(fraction, 0.0, 1.0);
  const int filled = static_cast<int>(part * kWidth);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string left =
      part > 0.02 ? fmt::format("{:.0f} s left", seconds / part * (1.0 - part)) : std::string();
  note("\r\x1b[K{} [{}{}] {:3.0f} % {}", what, std::string(static_cast<size_t>(filled), '#'),
       std::string(static_cast<size_t>(kWidth - filled), '.'), 100.0 * part, left);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBar::clear() {
  if (!drawn_) return;
  note("\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace dunlin

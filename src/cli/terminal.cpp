#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace dunlin {
namespace {

int g_stdout_error = 0;  // errno of the first write that failed

}  // namespace

bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}
bool stdin_is_terminal() {
  return ::isatty(STDIN_FILENO) == 1;
}
bool stdout_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}

void write_stdout(std::string_view text) {
  errno = 0;
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && g_stdout_error == 0) g_stdout_error = errno != 0 ? errno : EIO;
}

bool stdout_is_intact() {
  return g_stdout_error == 0 && std::ferror(stdout) == 0;
}

int finish_stdout(int exit_code) {
  write_stdout("");
  if (stdout_is_intact() || g_stdout_error == EPIPE) return exit_code;
  note("error: stdout: {}\n", std::strerror(g_stdout_error != 0 ? g_stdout_error : EIO));
  return exit_code == 0 ? 1 : exit_code;
}

int report_error(const Error& error) {
  note("error: {}\n", error.message);
  return static_cast<int>(error.kind);
}

bool StatusLine::is_due() const {
  return enabled_ && StatusLine::Clock::now() - last_ >= std::chrono::milliseconds(100);
}

void StatusLine::show(const std::string& text) {
  if (text.empty()) {
    clear();
  } else if (is_due()) {
    last_ = StatusLine::Clock::now();
    note("\r\x1b[K{}", text);
    std::fflush(stderr);
    drawn_ = true;
  }
}

void StatusLine::clear() {
  if (!drawn_) return;
  note("\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

void ProgressBar::update(double fraction, const std::string& what) {
  if (!line_.is_due()) return;
  constexpr int kWidth = 30;
  const double part = std::clamp(fraction, 0.0, 1.0);
  const int filled = static_cast<int>(part * kWidth);
  const double seconds = std::chrono::duration<double>(StatusLine::Clock::now() - start_).count();
  const std::string left =
      part > 0.02 ? fmt::format("{:.0f} s left", seconds / part * (1.0 - part)) : std::string();
  line_.show(
      fmt::format("{} [{}{}] {:3.0f} % {}", what, std::string(static_cast<size_t>(filled), '#'),
                  std::string(static_cast<size_t>(kWidth - filled), '.'), 100.0 * part, left));
}

}  // namespace dunlin

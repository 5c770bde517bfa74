// What goes to stderr: messages, the banner and progress bars. stdout is the product.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

bool stderr_is_terminal();
bool stdin_is_terminal();
bool stdout_is_terminal();

// Prints to stderr. What it cannot take is lost: nobody is left to tell.
template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

// Writes to stdout at once. The first failure is remembered for finish_stdout().
void write_stdout(std::string_view text);

// Whether stdout has taken everything so far.
bool stdout_is_intact();

// Flushes stdout at the end of a command. A product that could not be written is an error (1) unless
// its reader has gone, as `head` does.
int finish_stdout(int exit_code);

// Prints `error: ...` and returns the exit code of its kind.
int report_error(const Error& error);

// A line that is redrawn in place, at most ten times a second; shown only on a terminal and, unless it
// is wanted at once, only when the work takes longer than a blink. Whatever is printed next must be
// preceded by clear().
class StatusLine {
 public:
  using Clock = std::chrono::steady_clock;

  explicit StatusLine(bool enabled, bool at_once = false)
      : enabled_(enabled && stderr_is_terminal()),
        last_(at_once ? Clock::time_point() : Clock::now()) {}
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool is_due() const;                 // whether show() would draw now
  void show(const std::string& text);  // an empty text clears
  void clear();

 private:
  bool enabled_;
  bool drawn_ = false;
  Clock::time_point last_;
};

// A bar with percentage and remaining time. Removed when it is done.
class ProgressBar {
 public:
  explicit ProgressBar(bool enabled) : line_(enabled) {}

  void update(double fraction, const std::string& what);  // fraction 0..1
  void clear() { line_.clear(); }

 private:
  StatusLine line_;
  StatusLine::Clock::time_point start_ = StatusLine::Clock::now();
};

}  // namespace dunlin

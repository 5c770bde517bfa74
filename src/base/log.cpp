#include "base/log.h"

#include <cstdio>
#include <utility>

namespace dunlin {
namespace {

std::function<void(const std::string&)>& sink() {
  static std::function<void(const std::string&)> function = [](const std::string& message) {
    // One write, so that lines of several threads do not mix.
    const std::string line = "warning: " + message + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
  };
  return function;
}

}  // namespace

void log_warning(const std::string& message) {
  sink()(message);
}

void set_warning_sink(std::function<void(const std::string& message)> function) {
  sink() = std::move(function);
}

}  // namespace dunlin

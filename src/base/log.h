// Warnings of the library: what was ignored or looks wrong, but is no error.
#pragma once

#include <functional>
#include <string>

namespace dunlin {

// One line, without a line feed. From any thread.
void log_warning(const std::string& message);

// Takes the warnings from now on; before the first call they go to stderr as `warning: ...`. Not
// while another thread may warn.
void set_warning_sink(std::function<void(const std::string& message)> sink);

}  // namespace dunlin

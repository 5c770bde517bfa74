// DUNLIN_CHECK: a condition that only a programming mistake can break. Prints and aborts; never
// reachable from input.
#pragma once

#include <string_view>

namespace dunlin {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

}  // namespace dunlin

#define DUNLIN_CHECK(condition, message)                                                 \
  do {                                                                                   \
    if (!(condition)) ::dunlin::check_failed(__FILE__, __LINE__, #condition, (message)); \
  } while (false)

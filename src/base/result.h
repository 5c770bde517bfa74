// What the tree adds to the public Result<T>: errors by kind, and macros that pass them on.
#pragma once

#include <dunlin/result.h>

#include <string>
#include <utility>

#include "base/check.h"

namespace dunlin {

inline Error model_error(std::string message) {
  return {ErrorKind::model, std::move(message)};
}
inline Error usage_error(std::string message) {
  return {ErrorKind::usage, std::move(message)};
}
inline Error runtime_error(std::string message) {
  return {ErrorKind::runtime, std::move(message)};
}
// Needs no memory itself: the text fits std::string's own buffer.
inline Error out_of_memory() {
  return {ErrorKind::does_not_fit, "out of memory"};
}

}  // namespace dunlin

#define DUNLIN_CONCAT_INNER(a, b) a##b
#define DUNLIN_CONCAT(a, b) DUNLIN_CONCAT_INNER(a, b)

// DUNLIN_ASSIGN_OR_RETURN(auto file, File::open(path)): declares `file`, or returns the error from
// this function.
#define DUNLIN_ASSIGN_OR_RETURN(declaration, expression) \
  DUNLIN_ASSIGN_OR_RETURN_INNER(DUNLIN_CONCAT(result_, __LINE__), declaration, expression)
#define DUNLIN_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                          \
  if (!result.ok()) return result.error();                             \
  declaration = std::move(result).value()

#define DUNLIN_RETURN_IF_ERROR(expression)                               \
  do {                                                                   \
    if (auto status = (expression); !status.ok()) return status.error(); \
  } while (false)

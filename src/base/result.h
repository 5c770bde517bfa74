// Result<T>: a value or an Error, for everything that can fail because the world is wrong (file,
// config, request, device). Programming mistakes use check.h instead.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace dunlin {

// What went wrong, in the classes that the command line turns into exit codes.
enum class ErrorKind {
  runtime = 1,       // anything else
  usage = 2,         // a wrong flag, request field, or a prompt longer than the context
  model = 3,         // a model file that is missing, malformed or unsupported
  does_not_fit = 4,  // memory
  device = 5,        // a back end or accelerator that is missing or failed
  verification = 6,  // values that differ from the reference
  network = 7,
  deadline = 8,
};

struct Error {
  ErrorKind kind = ErrorKind::runtime;
  std::string message;  // names the file, tensor or field, and says what to do when that is known

  // The same error with `prefix: ` before the message.
  Error with_context(const std::string& prefix) const { return {kind, prefix + ": " + message}; }
};

inline Error model_error(std::string message) {
  return {ErrorKind::model, std::move(message)};
}
inline Error usage_error(std::string message) {
  return {ErrorKind::usage, std::move(message)};
}
inline Error runtime_error(std::string message) {
  return {ErrorKind::runtime, std::move(message)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    DUNLIN_CHECK(ok(), error_message());
    return std::get<0>(state_);
  }
  const T& value() const& {
    DUNLIN_CHECK(ok(), error_message());
    return std::get<0>(state_);
  }
  T&& value() && {
    DUNLIN_CHECK(ok(), error_message());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    DUNLIN_CHECK(!ok(), "error() of a Result that holds a value");
    return std::get<1>(state_);
  }

 private:
  std::string error_message() const { return ok() ? std::string() : std::get<1>(state_).message; }

  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const { DUNLIN_CHECK(ok(), error_ ? error_->message : std::string()); }
  const Error& error() const {
    DUNLIN_CHECK(!ok(), "error() of a Result that holds a value");
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

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

// Result<T>: a value or an Error, for everything that can fail because the world is wrong (file,
// config, request, device). Asking it for what it does not hold is a mistake of the program: it
// prints a line and aborts.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

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

namespace detail {

[[noreturn]] inline void result_misused(const char* what, const std::string& message) {
  std::fprintf(stderr, "dunlin: %s%s\n", what, message.c_str());
  std::abort();
}

}  // namespace detail

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)  // NOLINT(google-explicit-constructor)
      : value_(std::in_place, std::move(value)) {}
  Result(Error error)  // NOLINT(google-explicit-constructor)
      : error_(std::move(error)) {}

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& value() & {
    require_value();
    return *value_;
  }
  const T& value() const& {
    require_value();
    return *value_;
  }
  T&& value() && {
    require_value();
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    if (ok()) detail::result_misused("error() of a Result that holds a value", {});
    return error_;
  }

 private:
  void require_value() const {
    if (!ok()) detail::result_misused("value() of an error: ", error().message);
  }

  std::optional<T> value_;
  Error error_;  // of none while there is a value
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  void value() const {
    if (!ok()) detail::result_misused("value() of an error: ", error_->message);
  }
  const Error& error() const {
    if (ok()) detail::result_misused("error() of a Result that holds a value", {});
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

}  // namespace dunlin

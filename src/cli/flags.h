// Flags of commands: their names, strict values, and the environment variable of each.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "cli/numbers.h"

namespace dunlin {

// DUNLIN_ARG_MAX_TOKENS for "max-tokens".
std::string environment_name(const std::string& long_name);

namespace detail {

// Takes one value; returns why it is refused, or nothing.
using Assign = std::function<std::string(const std::string& text)>;

// `kind` stands for the value in --help. A list takes one value per occurrence.
CLI::Option* add_value(CLI::App& command, const std::string& names, const std::string& help,
                       const char* kind, bool list, Assign assign);

inline std::string assign_text(const std::string& text, std::string& value) {
  value = text;
  return {};
}
template <typename T>
  requires std::is_arithmetic_v<T>
std::string assign_text(const std::string& text, T& value) {
  return parse_number(text, value);
}
template <typename T>
std::string assign_text(const std::string& text, std::optional<T>& value) {
  return assign_text(text, value.emplace());
}

template <typename T>
struct Element {
  using Type = T;
};
template <typename T>
struct Element<std::optional<T>> {
  using Type = T;
};

template <typename T>
constexpr const char* kind_of() {
  using Type = typename Element<T>::Type;
  return std::is_integral_v<Type> ? "INT" : std::is_arithmetic_v<Type> ? "NUMBER" : "TEXT";
}

}  // namespace detail

// Adds a flag with the environment variable of its first long name. `value` outlives the parsing;
// what it holds already is the default that --help shows.
template <typename T>
CLI::Option* add_flag(CLI::App& command, const std::string& names, T& value,
                      const std::string& help) {
  CLI::Option* const option = detail::add_value(
      command, names, help, detail::kind_of<T>(), /*list=*/false,
      [&value](const std::string& text) { return detail::assign_text(text, value); });
  if constexpr (std::is_arithmetic_v<T>) {
    option->default_str(CLI::detail::to_string(value));
  } else if constexpr (std::is_same_v<T, std::string>) {
    option->default_str(value);
  }
  return option;
}

// A flag that may be repeated.
CLI::Option* add_flag(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                      const std::string& help);

// A flag without a value; its variable takes 1, true, on, yes and their opposites.
CLI::Option* add_switch(CLI::App& command, const std::string& names, bool& value,
                        const std::string& help);

// Flags that are added during its life have a heading of their own in --help.
class FlagGroup {
 public:
  FlagGroup(CLI::App& command, std::string name);
  ~FlagGroup();
  FlagGroup(const FlagGroup&) = delete;
  FlagGroup& operator=(const FlagGroup&) = delete;

 private:
  CLI::App& command_;
  std::string name_;
  size_t before_;
};

// For Option::check: integers from low to high.
CLI::Validator in_range(int64_t low, int64_t high);
// Numbers from low to high.
CLI::Validator in_real_range(double low, double high);
// One of a few words.
CLI::Validator one_of(const std::vector<std::string>& words);
// Anything but an empty text.
CLI::Validator not_empty();

}  // namespace dunlin

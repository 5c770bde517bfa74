// Flags of commands: their names, strict values, and the environment variable of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "cli/command.h"
#include "cli/numbers.h"

namespace dunlin {
namespace detail {

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

// The number in six digits.
std::string number_text(double value);

}  // namespace detail

// Adds a flag with the environment variable of its first long name. `value` outlives the parsing;
// what it holds already is the default that --help shows.
template <typename T>
Flag add_flag(Command command, const std::string& names, T& value, const std::string& help) {
  Flag flag = command.add_value(
      names, help, detail::kind_of<T>(), /*list=*/false,
      [&value](const std::string& text) { return detail::assign_text(text, value); });
  if constexpr (std::is_integral_v<T>) {
    flag.default_str(std::to_string(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    flag.default_str(detail::number_text(value));
  } else if constexpr (std::is_same_v<T, std::string>) {
    flag.default_str(value);
  }
  return flag;
}

// A flag that may be repeated.
Flag add_flag(Command command, const std::string& names, std::vector<std::string>& values,
              const std::string& help);

// A flag without a value; its variable takes 1, true, on, yes and their opposites.
Flag add_switch(Command command, const std::string& names, bool& value, const std::string& help);

// Flags that are added during its life have a heading of their own in --help.
class FlagGroup {
 public:
  FlagGroup(Command command, std::string name);
  ~FlagGroup();
  FlagGroup(const FlagGroup&) = delete;
  FlagGroup& operator=(const FlagGroup&) = delete;

 private:
  Command command_;
  std::string name_;
  size_t before_;
};

// For Flag::check: integers from low to high.
Check in_range(int64_t low, int64_t high);
// Numbers from low to high.
Check in_real_range(double low, double high);
// One of a few words.
Check one_of(const std::vector<std::string>& words);
// Anything but an empty text.
Check not_empty();

}  // namespace dunlin

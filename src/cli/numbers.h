// Numbers in text that people write, read strictly: decimal, the whole of the text, in range.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <string>
#include <string_view>
#include <system_error>

namespace dunlin {

// Why `text` is not a number of type T, to follow the text in a message; empty when it is one and
// `value` has it. Refused are signs and blanks before it, leading zeros (010 is octal elsewhere),
// other bases, "nan", "inf", and anything after it.
template <typename T>
  requires std::integral<T> || std::floating_point<T>
std::string parse_number(std::string_view text, T& value) {
  constexpr bool kInteger = std::integral<T>;
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  const bool starts_with_digit = !digits.empty() && digits[0] >= '0' && digits[0] <= '9';
  const bool leading_zero = digits.size() > 1 && digits[0] == '0' && digits[1] != '.' &&
                            digits[1] != 'e' && digits[1] != 'E';
  const bool starts_with_point = !kInteger && digits.size() > 1 && digits[0] == '.';
  const char* const end = text.data() + text.size();
  T number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const bool shaped = (starts_with_digit && !leading_zero) || starts_with_point;
  if (!shaped || error == std::errc::invalid_argument || stop != end)
    return kInteger ? "is not an integer" : "is not a number";
  if (error != std::errc()) return "is out of range";
  value = number;
  return {};
}

}  // namespace dunlin

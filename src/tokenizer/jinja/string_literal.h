// String literals of a template: Python's escape sequences.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dunlin::jinja {

// The value of a literal's inside: \n \t \xhh \ooo \uXXXX \UXXXXXXXX and so on; an unknown escape
// stays as written. Nothing when an escape is cut short, is not a code point, or is \N{name}.
std::optional<std::string> unescape_string(std::string_view text);

}  // namespace dunlin::jinja

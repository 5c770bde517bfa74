// Patterns over the names of taps: `*` stands for any text, `?` for one character.
#pragma once

#include <string_view>

namespace dunlin {

bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace dunlin

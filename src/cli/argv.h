// Names of flags: llama.cpp's multi-letter short ones, and the nearest to one that nobody knows.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// "--parallel" for "-np"; empty for what is no such short flag. Not every command has the long one.
std::string long_flag_of(std::string_view short_flag);

// "-np" for "--parallel"; empty for a flag without such a short form.
std::string short_flag_of(std::string_view long_flag);

// The name with the smallest edit distance to `flag`; empty when none is closer than half of its
// length.
std::string nearest_name(std::string_view flag, std::span<const std::string> names);

// "--treads is not a flag; did you mean --threads?", `kind` being "flag"; without the question when
// no name is near. Of a flag of llama.cpp with another name here: "-lv is not a flag; use -v ...".
std::string unknown_name(const std::string& name, const std::string& kind,
                         std::span<const std::string> names);

}  // namespace dunlin

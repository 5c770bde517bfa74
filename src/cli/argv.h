// The command line before it is parsed: llama.cpp's multi-letter short flags become long ones, and
// a flag nobody knows gets the nearest name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// Rewrites -np, -ub, -sys, -ctk and their like to the long flags they abbreviate. Arguments after
// `--` stay.
std::vector<std::string> rewrite_short_flags(std::span<const std::string> arguments);

// "-np" for "--parallel"; empty for a flag without such a short form.
std::string short_flag_of(std::string_view long_flag);

// The name with the smallest edit distance to `flag`; empty when none is closer than half of its
// length.
std::string nearest_name(std::string_view flag, std::span<const std::string> names);

// "--treads is not a flag; did you mean --threads?", `kind` being "flag"; without the question when
// no name is near.
std::string unknown_name(const std::string& name, const std::string& kind,
                         std::span<const std::string> names);

}  // namespace dunlin

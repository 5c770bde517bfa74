// Rows of comma-separated values (RFC 4180), every cell quoted.
#pragma once

#include <span>
#include <string>

namespace dunlin {

// "a","b ""quoted""" and a newline.
std::string csv_row(std::span<const std::string> cells);

}  // namespace dunlin

// Scripts with which a shell completes the commands and flags of the program, made from the parser's
// own tree.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace dunlin {

std::string bash_completion(const CLI::App& app);
std::string zsh_completion(const CLI::App& app);
std::string fish_completion(const CLI::App& app);

}  // namespace dunlin

// Scripts with which a shell completes the commands and flags of the program, made from the parser's
// own tree.
#pragma once

#include <string>

#include "cli/command.h"

namespace dunlin {

std::string bash_completion(const Command& app);
std::string zsh_completion(const Command& app);
std::string fish_completion(const Command& app);

}  // namespace dunlin

// How --help shows a command: one flag a line with its values, default and a wrapped description.
#pragma once

#include "cli/command.h"

namespace dunlin {

// For the program and the commands that are added to it from now on.
void set_help_format(Command program);

}  // namespace dunlin

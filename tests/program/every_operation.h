// A Program with every operation in it, for tests that walk over all of them.
#pragma once

#include "program/program.h"

namespace dunlin {

Program every_operation();

}  // namespace dunlin

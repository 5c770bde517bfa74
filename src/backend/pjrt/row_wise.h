// Whether a Program computes each row of a step on its own, but for attention.
#pragma once

#include "program/program.h"

namespace dunlin::pjrt {

// True: a step may be padded and run in parts, so that few executables serve all steps; every model
// is such a Program. False: an executable is compiled for the exact sizes of each step.
bool is_row_wise(const Program& program);

}  // namespace dunlin::pjrt

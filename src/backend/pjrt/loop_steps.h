// How many steps of a Program one call may take.
#pragma once

#include <cstdint>

#include "backend/api.h"
#include "program/program.h"

namespace dunlin::pjrt {

// `wanted`, but no more than a window of the KV cache has room for (StepLimits::rows) and than there are
// positions. 1 where the host needs every step: of a Program that is not row-wise, whose rows see what
// comes after them, that has no candidates, or that has outputs beside logits.
int64_t loop_steps(const Program& program, const StepLimits& limits, int64_t wanted);

}  // namespace dunlin::pjrt

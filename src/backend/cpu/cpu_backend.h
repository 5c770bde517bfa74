// The CPU back end: compiles a Program into fused steps over packed weights and the kernels of the
// best instruction set there is. Bits do not depend on threads, batch, chunks or instruction set
// (docs/decisions/0002-numerics.md).
#pragma once

#include <memory>

#include "backend/api.h"

namespace dunlin {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace dunlin

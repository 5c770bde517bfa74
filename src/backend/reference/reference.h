// The reference back end: every operation as one readable scalar function, the oracle that defines
// what the others compute (docs/decisions/0002-numerics.md). It runs semantic operations directly
// and expanded Programs, on one thread. Unlike the other back ends, run() allocates: what a step
// needs is a list of plain arrays, freed after their last use.
#pragma once

#include <memory>

#include "backend/api.h"

namespace dunlin {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace dunlin

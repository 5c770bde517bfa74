// The profiles that the back end has.
#pragma once

#include "backend/api.h"
#include "base/result.h"

namespace dunlin::pjrt {

// Matrices are multiplied in float32 or bf16, and the cache is of kv_element(): the type that a precision
// keeps unless it is asked for another. Errors (kind usage): int8 and fast, whose arithmetic XLA does not
// have; those of kv_type_of(); a cache in int8, which has scales beside its codes.
Result<void> check_profile(const CompileOptions& options);

}  // namespace dunlin::pjrt

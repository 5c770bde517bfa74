// One tensor against its reference.
#pragma once

#include <string>

#include "parity/array_file.h"
#include "parity/parity.h"

namespace dunlin {

// Integers must be equal, whatever their shape. Floats may differ by tolerance * max(1, max |reference|);
// another shape, a NaN and an infinity never pass.
ParityRow compare_arrays(const std::string& name, const Array& ours, const Array& reference,
                         double tolerance);

}  // namespace dunlin

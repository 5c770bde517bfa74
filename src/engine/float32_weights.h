// The weights of a model as float32, whatever their formats are in the checkpoint.
#pragma once

#include "backend/api.h"

namespace dunlin {

// Rows are decoded by whoever reads them, on any thread; nothing is kept. Errors as `weights`'.
WeightSource float32_weights(WeightSource weights);

}  // namespace dunlin

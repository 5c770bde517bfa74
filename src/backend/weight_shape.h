// The shape a Program declares for a weight, against what the checkpoint has.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "base/result.h"
#include "formats/weight_view.h"
#include "program/program.h"

namespace dunlin {

struct MatrixShape {
  int64_t rows = 1;
  int64_t columns = 1;
};

// A vector is one row; the experts of a stack follow each other.
MatrixShape matrix_shape(const WeightDeclaration& declaration);

// The error names tensor, file, and both shapes.
Result<void> check_shape(const WeightDeclaration& declaration, const WeightView& view);

// Of a weight that `linear` or `experts` multiplies by. The error (kind model) names tensor, file and
// columns: those of int8wide are at most kMostWideColumns.
Result<void> check_columns(const WeightDeclaration& declaration, const WeightView& view,
                           Arithmetic arithmetic);

// One view per declared weight. Errors: those of `source`, as of a weight that is missing, and of
// check_shape().
Result<std::vector<WeightView>> resolve_weights(const Program& program, const WeightSource& source);

}  // namespace dunlin

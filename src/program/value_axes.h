// Logical axes of every value's dimensions, as they follow from the weights that made it: the result
// of a query projection has {kv_heads, q_group, head_dim}, and so has what is reshaped from it.
#pragma once

#include <vector>

#include "program/mesh.h"
#include "program/program.h"

namespace dunlin {

// One list per dimension; empty for a symbol and where no axis is known (the dimension is whole on
// every device).
using ValueAxes = std::vector<AxisList>;

// By ValueId. The Program must be sound (verify()).
std::vector<ValueAxes> value_axes(const Program& program);

// Elements of a value on one device at these sizes of the symbols, which are those of one device
// already: rows and sequences of its share of the batch.
int64_t shard_elements(const ValueType& type, const ValueAxes& axes, const Mesh& mesh,
                       const SymbolSizes& sizes);

}  // namespace dunlin

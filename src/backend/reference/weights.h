// Reads the weights a Program declares and decodes each once into what its operations read.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/reference/array.h"
#include "backend/reference/linear.h"

namespace dunlin::reference {

struct PreparedWeight {
  Array decoded;  // float32, where an operation other than linear and experts reads it; else empty
  std::vector<LinearWeight> linear;  // of linear: one; of experts: one per expert; else empty

  uint64_t bytes() const;
};

// One entry per declared weight. A weight that is missing, unreadable or of another shape is an
// error that names the tensor, its file and both shapes. Gate and up of experts that are rows in turn
// of one tensor come from one reading of it. `kept`, by WeightId: kept_weights() of `program`, or of the
// one that its nodes are a part of.
Result<std::vector<PreparedWeight>> prepare_weights(const Program& program,
                                                    const WeightSource& source,
                                                    const CompileOptions& options,
                                                    const std::vector<bool>& kept);

// The bytes() of each weight that prepare_weights() would give; the same errors, but nothing is read.
Result<std::vector<uint64_t>> prepared_bytes(const Program& program, const WeightSource& source,
                                             const CompileOptions& options,
                                             const std::vector<bool>& kept);

// Whether operand number `operand` of the node is a weight in the arithmetic of `linear`.
bool is_linear_operand(const Node& node, size_t operand);

}  // namespace dunlin::reference

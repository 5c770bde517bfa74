// `linear` on plain C++.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::scalar {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/int8_rows.inl.h"

#include "backend/cpu/kernels/vector/dot.inl.h"

#include "backend/cpu/kernels/vector/int8.inl.h"

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/wide.inl.h"
}  // namespace
}  // namespace dunlin::scalar

namespace dunlin {

void add_scalar_linear(Kernels& table) {
  DUNLIN_LINEAR_ROWS(table, scalar);
}

}  // namespace dunlin

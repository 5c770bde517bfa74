// Row and element-wise kernels on plain C++.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::scalar {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/vector/rows.inl.h"
}  // namespace
}  // namespace dunlin::scalar

namespace dunlin {

void add_scalar_rows(Kernels& table) {
  DUNLIN_ROW_ROWS(table, scalar);
}

}  // namespace dunlin

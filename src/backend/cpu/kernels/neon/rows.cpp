// Row and element-wise kernels on NEON.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/neon/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::neon {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/vector/rows.inl.h"
}  // namespace
}  // namespace dunlin::neon

namespace dunlin {

void add_neon_rows(Kernels& table) {
  DUNLIN_ROW_ROWS(table, neon);
}

}  // namespace dunlin

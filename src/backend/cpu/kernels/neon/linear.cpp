// `linear` on NEON.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/neon/dot.h"
#include "backend/cpu/kernels/neon/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::neon {
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
}  // namespace dunlin::neon

namespace dunlin {

void add_neon_linear(Kernels& table) {
  DUNLIN_LINEAR_ROWS(table, neon);
}

}  // namespace dunlin

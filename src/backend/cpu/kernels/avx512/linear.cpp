// `linear` on AVX-512.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/avx512/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

DUNLIN_TARGET_AVX512
namespace dunlin::avx512 {
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
}  // namespace dunlin::avx512
DUNLIN_TARGET_END

namespace dunlin {

void add_avx512_linear(Kernels& table) {
  DUNLIN_LINEAR_ROWS(table, avx512);
}

}  // namespace dunlin

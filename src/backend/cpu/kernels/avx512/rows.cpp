// Row and element-wise kernels on AVX-512.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/avx512/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

DUNLIN_TARGET_AVX512
namespace dunlin::avx512 {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/vector/rows.inl.h"
}  // namespace
}  // namespace dunlin::avx512
DUNLIN_TARGET_END

namespace dunlin {

void add_avx512_rows(Kernels& table) {
  DUNLIN_ROW_ROWS(table, avx512);
}

}  // namespace dunlin

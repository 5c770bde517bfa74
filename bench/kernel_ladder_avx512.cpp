// Steps over the packed layout on AVX-512.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/avx512/simd.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/scalar_math.h"
#include "kernel_ladder.h"

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

#include "kernel_ladder_vector.inl.h"
}  // namespace
}  // namespace dunlin::avx512
DUNLIN_TARGET_END

namespace dunlin::ladder {

VectorSteps avx512_steps() {
  return {avx512::gemv_stripes<false>,
          avx512::gemv_stripes<true>,
          avx512::gemm_each_row,
          avx512::gemm_panels<1, 1>,
          avx512::gemm_panels<avx512::kPanelRows, avx512::kPanelStripes>,
          avx512::multiply_add_chains,
          avx512::kPeakChains};
}

}  // namespace dunlin::ladder

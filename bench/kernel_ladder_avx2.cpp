// Steps over the packed layout on AVX2.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/avx2/simd.h"
#include "backend/cpu/kernels/kernels.h"
#include "base/scalar_math.h"
#include "kernel_ladder.h"

DUNLIN_TARGET_AVX2
namespace dunlin::avx2 {
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
}  // namespace dunlin::avx2
DUNLIN_TARGET_END

namespace dunlin::ladder {

VectorSteps avx2_steps() {
  return {avx2::gemv_stripes<false>,
          avx2::gemv_stripes<true>,
          avx2::gemm_each_row,
          avx2::gemm_panels<1, 1>,
          avx2::gemm_panels<avx2::kPanelRows, avx2::kPanelStripes>,
          avx2::multiply_add_chains,
          avx2::kPeakChains};
}

}  // namespace dunlin::ladder

// The peak that the last step of the GEMM ladder is held against.
#include "kernel_ladder.h"
#include "tile_peak.h"

namespace dunlin::ladder {

void tile_peak_bf16(const std::byte* operands, int64_t steps) noexcept {
  amx::tile_products<false>(operands, steps);
}

}  // namespace dunlin::ladder

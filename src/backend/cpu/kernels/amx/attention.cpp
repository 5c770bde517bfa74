// Attention over bf16 pages on AMX; few queries go to AVX-512.
#include "backend/cpu/kernels/attention.h"

#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/amx/tiles.h"
#include "backend/cpu/kernels/avx512/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

DUNLIN_TARGET_AMX
namespace dunlin::amx {
namespace {
using namespace avx512;  // the sixteen lanes; this file's target includes theirs
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/attention.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

#include "backend/cpu/kernels/amx/attention.inl.h"

void attention_bf16(const AttentionArgs& args, float* y, int64_t y_stride) noexcept {
  if (args.rows * args.group >= kTileRows) {
    attention_tiles<HardwareTiles>(args, y, y_stride);
  } else {
    kernels(Isa::avx512).attention[int(KvType::bf16)].run(args, y, y_stride);
  }
}

}  // namespace
}  // namespace dunlin::amx
DUNLIN_TARGET_END

namespace dunlin {

void add_amx_attention(Kernels& table) {
  DUNLIN_ROW(table, amx, attention[int(KvType::bf16)], "attention_bf16", attention_bf16);
}

}  // namespace dunlin

// Attention over pages in bf16 and int8 on AMX; few queries go to AVX-512.
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

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/kv_lines.inl.h"

#include "backend/cpu/kernels/vector/attention.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

#include "backend/cpu/kernels/amx/kv_tiles.inl.h"

#include "backend/cpu/kernels/amx/attention.inl.h"

template <KvType T>
void attention_of_pages(const AttentionArgs& args, float* y, int64_t y_stride) noexcept {
  if (args.rows * args.group >= kTileRows) {
    attention_tiles<HardwareTiles, T>(args, y, y_stride);
  } else {
    kernels(Isa::avx512).attention[int(T)].run(args, y, y_stride);
  }
}

}  // namespace
}  // namespace dunlin::amx
DUNLIN_TARGET_END

namespace dunlin {

void add_amx_attention(Kernels& table) {
  DUNLIN_ROW(table, amx, attention[int(KvType::bf16)], "attention_bf16",
             attention_of_pages<KvType::bf16>);
  DUNLIN_ROW(table, amx, attention[int(KvType::int8)], "attention_int8",
             attention_of_pages<KvType::int8>);
}

}  // namespace dunlin

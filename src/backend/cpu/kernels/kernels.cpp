// Builds the table of kernels: each instruction set's row starts as a copy of the one below.
#include "backend/cpu/kernels/kernels.h"

#include <array>
#include <cmath>

#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/tables.h"
#include "base/check.h"

namespace dunlin {

namespace {

// What `isa` brings. The sets of another kind of processor than this build's bring nothing.
void add_kernels(Isa isa, Kernels& table) {
  switch (isa) {
    case Isa::scalar:
      add_memory_kernels(table);
      add_scalar_linear(table);
      add_scalar_rows(table);
      add_scalar_attention(table);
      break;
#if defined(__aarch64__)
    case Isa::neon:
      add_neon_linear(table);
      add_neon_rows(table);
      add_neon_attention(table);
      break;
    case Isa::dotprod:
      add_dotprod_linear(table);
      break;
    case Isa::i8mm:
      add_i8mm_linear(table);
      break;
#else
    case Isa::avx2:
      add_avx2_linear(table);
      add_avx2_rows(table);
      add_avx2_attention(table);
      break;
    case Isa::avx512:
      add_avx512_linear(table);
      add_avx512_rows(table);
      add_avx512_attention(table);
      break;
    case Isa::amx:
      add_amx_linear(table);
      add_amx_attention(table);
      break;
#endif
    default:
      break;
  }
}

std::array<Kernels, kIsas> build_tables() {
  std::array<Kernels, kIsas> tables;
  for (int i = 0; i < kIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    Kernels& table = tables[static_cast<size_t>(i)];
    if (isa != Isa::scalar) table = tables[static_cast<size_t>(isa_below(isa))];
    table.isa = isa;
    add_kernels(isa, table);
  }
  return tables;
}

}  // namespace

const Kernels& kernels(Isa isa) {
  static const std::array<Kernels, kIsas> tables = build_tables();
  return tables[static_cast<size_t>(isa)];
}

int64_t activation_bytes(Arithmetic arithmetic, int64_t rows, int64_t columns) {
  const int64_t padded_rows = (rows + 15) / 16 * 16;  // whole tiles
  if (arithmetic == Arithmetic::int8) return padded_rows * (columns / 32) * kInt8BlockBytes;
  if (arithmetic == Arithmetic::int8wide)
    return wide_tiles_at(rows) + padded_rows * wide_blocks(columns) * 64;
  return padded_rows * float_row_stride(columns) * static_cast<int64_t>(sizeof(float));
}

int64_t attention_workspace_bytes(KvType type, int64_t head_dim) {
  return AttentionTileWorkspace::bytes(type, head_dim);  // holds the other as well
}

SplitRange attention_splits(const AttentionArgs& args) {
  return splits_of_rows(args, 0, args.rows);
}

float log_once(float z) {
  return static_cast<float>(std::log(static_cast<double>(z)));
}

}  // namespace dunlin

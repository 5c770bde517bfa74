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

std::array<Kernels, kIsas> build_tables() {
  std::array<Kernels, kIsas> tables;
  Kernels& scalar = tables[static_cast<size_t>(Isa::scalar)];
  scalar.isa = Isa::scalar;
  add_memory_kernels(scalar);
  add_scalar_linear(scalar);
  add_scalar_rows(scalar);
  add_scalar_attention(scalar);

  Kernels& avx2 = tables[static_cast<size_t>(Isa::avx2)];
  avx2 = scalar;
  avx2.isa = Isa::avx2;
  add_avx2_linear(avx2);
  add_avx2_rows(avx2);
  add_avx2_attention(avx2);

  Kernels& avx512 = tables[static_cast<size_t>(Isa::avx512)];
  avx512 = avx2;
  avx512.isa = Isa::avx512;
  add_avx512_linear(avx512);
  add_avx512_rows(avx512);
  add_avx512_attention(avx512);

  Kernels& amx = tables[static_cast<size_t>(Isa::amx)];
  amx = avx512;
  amx.isa = Isa::amx;
  add_amx_linear(amx);
  add_amx_attention(amx);
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

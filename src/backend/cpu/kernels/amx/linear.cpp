// `linear` in the bf16 and both int8 arithmetics on AMX; few rows go to AVX-512.
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

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

#include "backend/cpu/kernels/amx/int8.inl.h"

template <PackedForm F>
void linear_bf16(const LinearArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    linear_tiles<HardwareTiles, F>(args);
  } else {
    kernels(Isa::avx512).linear[int(Arithmetic::bf16)][int(F)].run(args);
  }
}

void prepare_bf16(const PrepareArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    prepare_tiles(args);
  } else {
    kernels(Isa::avx512).prepare[int(Arithmetic::bf16)].run(args);
  }
}

template <PackedForm F>
void linear_int8(const LinearArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    linear_int8_tiles<HardwareTiles, F>(args);
  } else {
    kernels(Isa::avx512).linear[int(Arithmetic::int8)][int(F)].run(args);
  }
}

void prepare_int8(const PrepareArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    prepare_int8_tiles<16>(args);
  } else {
    kernels(Isa::avx512).prepare[int(Arithmetic::int8)].run(args);
  }
}

void linear_wide(const LinearArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    linear_tiles<HardwareTiles, PackedForm::wide>(args);
  } else {
    kernels(Isa::avx512).linear[int(Arithmetic::int8wide)][int(PackedForm::wide)].run(args);
  }
}

void prepare_int8wide(const PrepareArgs& args) noexcept {
  if (args.rows >= kTileRows) {
    prepare_wide_tiles<16>(args);
  } else {
    kernels(Isa::avx512).prepare[int(Arithmetic::int8wide)].run(args);
  }
}

}  // namespace
}  // namespace dunlin::amx
DUNLIN_TARGET_END

namespace dunlin {

void add_amx_linear(Kernels& table) {
  DUNLIN_ROW(table, amx, prepare[int(Arithmetic::bf16)], "prepare_bf16", prepare_bf16);
  DUNLIN_LINEAR_ROW(table, amx, bf16, bf16, linear_bf16<PackedForm::bf16>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, f16, linear_bf16<PackedForm::f16>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q4, linear_bf16<PackedForm::q4>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q4_min, linear_bf16<PackedForm::q4_min>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q5, linear_bf16<PackedForm::q5>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q5_min, linear_bf16<PackedForm::q5_min>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q6, linear_bf16<PackedForm::q6>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, q8, linear_bf16<PackedForm::q8>);
  DUNLIN_LINEAR_ROW(table, amx, bf16, mxfp4, linear_bf16<PackedForm::mxfp4>);
  DUNLIN_ROW(table, amx, prepare[int(Arithmetic::int8)], "prepare_int8", prepare_int8);
  DUNLIN_LINEAR_ROW(table, amx, int8, q4, linear_int8<PackedForm::q4>);
  DUNLIN_LINEAR_ROW(table, amx, int8, q4_min, linear_int8<PackedForm::q4_min>);
  DUNLIN_LINEAR_ROW(table, amx, int8, q5, linear_int8<PackedForm::q5>);
  DUNLIN_LINEAR_ROW(table, amx, int8, q5_min, linear_int8<PackedForm::q5_min>);
  DUNLIN_LINEAR_ROW(table, amx, int8, q6, linear_int8<PackedForm::q6>);
  DUNLIN_LINEAR_ROW(table, amx, int8, q8, linear_int8<PackedForm::q8>);
  DUNLIN_ROW(table, amx, prepare[int(Arithmetic::int8wide)], "prepare_int8wide", prepare_int8wide);
  DUNLIN_WIDE_ROW(table, amx, linear_wide);
}

}  // namespace dunlin

// The int8 arithmetics of `linear` with SMMLA; a row alone goes to SDOT.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/i8mm/pairs.h"
#include "backend/cpu/kernels/neon/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

DUNLIN_TARGET_I8MM_BEGIN
namespace dunlin::i8mm {
namespace {
using namespace neon;  // the sixteen lanes
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/int8_rows.inl.h"

#include "backend/cpu/kernels/i8mm/dot.inl.h"

#include "backend/cpu/kernels/vector/int8.inl.h"

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/wide.inl.h"

#include "backend/cpu/kernels/i8mm/int8.inl.h"

// As prepare_int8 decides.
template <PackedForm F>
void linear_int8_rows(const LinearArgs& args) noexcept {
  if (args.rows == 1) {
    kernels(Isa::dotprod).linear[int(Arithmetic::int8)][int(F)].run(args);
  } else {
    linear_int8_pairs<F>(args);
  }
}

void linear_wide_rows(const LinearArgs& args) noexcept {
  if (args.rows == 1) {
    kernels(Isa::dotprod).linear[int(Arithmetic::int8wide)][int(PackedForm::wide)].run(args);
  } else {
    linear_wide_pairs(args);
  }
}

}  // namespace
}  // namespace dunlin::i8mm
DUNLIN_TARGET_I8MM_END

namespace dunlin {

void add_i8mm_linear(Kernels& table) {
  DUNLIN_INT8_ROWS(table, i8mm, linear_int8_rows);
  DUNLIN_WIDE_ROW(table, i8mm, linear_wide_rows);
}

}  // namespace dunlin

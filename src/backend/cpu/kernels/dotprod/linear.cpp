// The int8 arithmetics of `linear` with SDOT; the others are NEON's.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/dotprod/dot.h"
#include "backend/cpu/kernels/neon/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

DUNLIN_TARGET_DOTPROD_BEGIN
namespace dunlin::dotprod {
namespace {
using namespace neon;  // the sixteen lanes
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/int8_rows.inl.h"

#include "backend/cpu/kernels/vector/dot.inl.h"

#include "backend/cpu/kernels/vector/int8.inl.h"

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/wide.inl.h"
}  // namespace
}  // namespace dunlin::dotprod
DUNLIN_TARGET_DOTPROD_END

namespace dunlin {

void add_dotprod_linear(Kernels& table) {
  DUNLIN_INT8_ROWS(table, dotprod, linear_int8);
  DUNLIN_WIDE_ROW(table, dotprod, linear_wide);
}

}  // namespace dunlin

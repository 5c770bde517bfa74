// Attention on NEON.
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/neon/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::neon {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/kv_lines.inl.h"

#include "backend/cpu/kernels/vector/attention.inl.h"
}  // namespace
}  // namespace dunlin::neon

namespace dunlin {

void add_neon_attention(Kernels& table) {
  DUNLIN_ATTENTION_ROWS(table, neon);
}

}  // namespace dunlin

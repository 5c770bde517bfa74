// Attention on plain C++.
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"

namespace dunlin::scalar {
namespace {
// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/kv_lines.inl.h"

#include "backend/cpu/kernels/vector/attention.inl.h"
}  // namespace
}  // namespace dunlin::scalar

namespace dunlin {

void add_scalar_attention(Kernels& table) {
  DUNLIN_ATTENTION_ROWS(table, scalar);
}

}  // namespace dunlin

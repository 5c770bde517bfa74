// What every step of attention does: rows are rotated and written to the KV cache, and the kernels get
// their arguments.
#pragma once

#include <cstdint>
#include <string>

#include "backend/cpu/bound_step.h"
#include "backend/cpu/kernels/kernels.h"
#include "program/attributes.h"

namespace dunlin::cpu {

// y = rope(x), [T, heads, head_dim]; y may be x. Without a kernel x is read as it is.
struct RopeOperand {
  const float* x = nullptr;
  float* y = nullptr;
  const float* angles = nullptr;  // of row t at angles + t * angle_stride
  int64_t angle_stride = 0;
  int64_t rotary_dim = 0;
};

struct AttentionSettings {
  std::string name;
  AttentionAttributes attributes;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t group = 1;  // query heads of a kv head
  int64_t head_dim = 0;
  RopeOperand q;  // y is what attention reads
  RopeOperand k;
  const float* v = nullptr;
  const float* sinks = nullptr;
  float* result = nullptr;  // [T, heads, head_dim]; may be q.y

  Kernel<RopeFunction> rope_q;  // without a function: not fused
  Kernel<RopeFunction> rope_k;
  KvType kv_type = KvType::bf16;
  Kernel<KvWriteFunction> kv_write;
  Kernel<AttentionFunction> attention;
  Kernel<AttentionSplitFunction> split;
  Kernel<AttentionMergeFunction> merge;
  StepLimits limits;
  int threads = 1;
};

// Rotates, where that is fused, and writes to the cache: kv heads [kv_head_begin, kv_head_end) of a
// row of the step, and the query heads that belong to them.
void write_attention_row(const AttentionSettings& settings, const RunContext& context, int64_t row,
                         int64_t sequence, int64_t kv_head_begin, int64_t kv_head_end) noexcept;

// The same for all rows and heads, over the threads.
void write_attention_rows(const AttentionSettings& settings, const RunContext& context) noexcept;

// Rows [row_begin, row_end) of one sequence and the query heads of one kv head; no workspace yet.
AttentionArgs attention_args(const AttentionSettings& settings, const RunContext& context,
                             int64_t sequence, int64_t row_begin, int64_t row_end,
                             int64_t kv_head) noexcept;

// What the rows of the step ask for: each key and value that some row of its sequence sees, read
// once.
StepWork attention_work(const AttentionSettings& settings, const RunContext& context) noexcept;

}  // namespace dunlin::cpu

// The attention kernels' interface: queries of one sequence against the pages of one kv head, whole
// or by split (docs/decisions/0002-numerics.md, "Attention"). Entries of the table in kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/kv_page.h"

namespace dunlin {

// Rounds k[head_dim] and v[head_dim] to the storage type, with their scales where it has them, into
// slot (position mod 16) of a page (kv_page.h).
using KvWriteFunction = void(const float* k, const float* v, int64_t head_dim, int64_t slot,
                             std::byte* page) noexcept;

// Query rows of one sequence against the keys of one kv head. Query (r, h) is at q + r * q_stride +
// h * head_dim and belongs to the h-th of the `group` query heads that share this kv head.
struct AttentionArgs {
  const float* q;
  int64_t q_stride;
  int64_t rows;
  const int32_t* positions;  // [rows]
  int64_t group;
  int64_t head_dim;

  const std::byte* pages;   // page p lies at pages + page_ids[p] * page_stride
  int64_t page_stride;      // bytes
  const int32_t* page_ids;  // of positions 16 p; negative: no page, none of its keys is visible
  int64_t length;           // keys at positions [0, length) are written; page_ids covers them

  bool causal;         // u <= t
  int64_t window;      // u > t - window; 0: no window
  float scale;         // of the scores
  float softcap;       // 0: none
  const float* sinks;  // [group], or null

  std::byte* workspace;  // attention_workspace_bytes(type, head_dim), one per thread
};
int64_t attention_workspace_bytes(KvType type, int64_t head_dim);

// Splits [first, end) of kSplitTokens positions that hold a key some row of `args` may see.
struct SplitRange {
  int64_t first;
  int64_t end;
};
SplitRange attention_splits(const AttentionArgs& args);

// The result of one query over one split: m, l, then from float 16 on o[head_dim]. l = 0: no
// visible key.
inline constexpr int64_t attention_partial_floats(int64_t head_dim) {
  return 16 + kv_value_dims(head_dim);
}

// One split for all queries. The result of query (r, h) goes to
// partials + (r * group + h) * partial_stride floats.
using AttentionSplitFunction = void(const AttentionArgs& args, int64_t split, float* partials,
                                    int64_t partial_stride) noexcept;

// Merges `count` results, ascending by split, `stride` floats apart, into y[head_dim]; `sink` may
// be null.
using AttentionMergeFunction = void(const float* partials, int64_t count, int64_t stride,
                                    int64_t head_dim, const float* sink, float* y) noexcept;

// All splits and the merge: y of query (r, h) at y + r * y_stride + h * head_dim. The form for many
// rows, where threads share rows and kv heads rather than splits. y may be q.
using AttentionFunction = void(const AttentionArgs& args, float* y, int64_t y_stride) noexcept;

}  // namespace dunlin

// What the attention kernels of all instruction sets share: visible positions and the layout of
// their workspace.
#pragma once

#include "backend/cpu/kernels/attention_kernels.h"

namespace dunlin {

inline constexpr int64_t kAttentionBlock = 16;  // queries whose sums are kept at a time

struct VisibleRange {
  int64_t begin;
  int64_t end;
};

// Positions row `row` may see, before missing pages: causal u <= t, window u > t - W, written u <
// length.
inline VisibleRange visible_range(const AttentionArgs& args, int64_t row) {
  const int64_t t = args.positions[row];
  int64_t end = args.length;
  if (args.causal && t + 1 < end) end = t + 1;
  int64_t begin = 0;
  if (args.window > 0 && t - args.window + 1 > 0) begin = t - args.window + 1;
  return {begin, end};
}

// Splits that rows [row, row_end) see between them.
inline SplitRange splits_of_rows(const AttentionArgs& args, int64_t row, int64_t row_end) {
  int64_t begin = args.length;
  int64_t end = 0;
  for (; row < row_end; ++row) {
    const VisibleRange range = visible_range(args, row);
    if (range.begin >= range.end) continue;
    if (range.begin < begin) begin = range.begin;
    if (range.end > end) end = range.end;
  }
  if (begin >= end) return {0, 0};
  return {begin / kSplitTokens, (end + kSplitTokens - 1) / kSplitTokens};
}

struct AttentionWorkspace {
  static int64_t bytes(int64_t head_dim) {
    const int64_t partial = attention_partial_floats(head_dim);
    const int64_t floats = kv_key_dims(head_dim) + kSplitTokens + 2 * partial;
    return kAttentionBlock * floats * static_cast<int64_t>(sizeof(float));
  }

  AttentionWorkspace(std::byte* memory, int64_t head_dim) {
    const int64_t partial = attention_partial_floats(head_dim);
    q = reinterpret_cast<float*>(memory);
    scores = q + kAttentionBlock * kv_key_dims(head_dim);
    partials = scores + kAttentionBlock * kSplitTokens;
    states = partials + kAttentionBlock * partial;
  }

  float* q;         // [block][key_dims], rounded to the storage type
  float* scores;    // [block][256]
  float* partials;  // [block][attention_partial_floats]
  float* states;    // [block][attention_partial_floats]: the merge so far
};

}  // namespace dunlin

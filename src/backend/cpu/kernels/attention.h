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

// Memory of the tile kernels: at most kTileQueries queries at a time, two row tiles of 16 of them over
// a split.
inline constexpr int64_t kTileQueries = 128;

struct AttentionTileWorkspace {
  static constexpr int64_t kTile = 1024;  // bytes
  static constexpr int64_t kPair = 32;    // queries
  static constexpr int64_t kBlocks = kSplitTokens / 32;

  static int64_t q_bytes(int64_t head_dim) {
    return kTileQueries / 16 * kv_key_dims(head_dim) / 32 * kTile;
  }
  static int64_t value_bytes(int64_t head_dim) {
    return kv_value_dims(head_dim) / 16 * kBlocks * kTile;
  }
  // Of a page of keys. Those in bf16 are tiles as they lie.
  static int64_t key_page_bytes(int64_t head_dim) { return kv_key_dims(head_dim) / 32 * kTile; }
  static int64_t key_bytes(KvType type, int64_t head_dim) {
    return type == KvType::int8 ? kSplitTokens / kPageTokens * key_page_bytes(head_dim) : 0;
  }
  static int64_t bytes(KvType type, int64_t head_dim) {
    const int64_t tiles = q_bytes(head_dim) + value_bytes(head_dim) + (2 * kBlocks + 4) * kTile;
    const int64_t floats =
        kPair * (kSplitTokens + 4) + kTileQueries * (kv_value_dims(head_dim) + 2);
    return tiles + floats * static_cast<int64_t>(sizeof(float)) +
           AttentionWorkspace::bytes(head_dim) + key_bytes(type, head_dim);
  }

  AttentionTileWorkspace(std::byte* memory, int64_t head_dim) {
    q = memory;
    values = q + q_bytes(head_dim);
    probabilities = values + value_bytes(head_dim);
    products = probabilities + 2 * kBlocks * kTile;
    scores = reinterpret_cast<float*>(products + 4 * kTile);
    split_m = scores + kPair * kSplitTokens;
    split_l = split_m + kPair;
    keep = split_l + kPair;
    take = keep + kPair;
    m = take + kPair;
    l = m + kTileQueries;
    o = l + kTileQueries;
    plain = reinterpret_cast<std::byte*>(o + kTileQueries * kv_value_dims(head_dim));
    keys = plain + AttentionWorkspace::bytes(head_dim);
  }

  std::byte* q;              // row tiles [queries / 16][key_dims / 32], bf16
  std::byte* values;         // weight tiles [value_dims / 16][kBlocks], bf16
  std::byte* probabilities;  // row tiles [2][kBlocks], bf16
  std::byte* products;       // four sum tiles
  float* scores;             // [kPair][256]
  float* split_m;            // [kPair], of one split
  float* split_l;
  float* keep;  // [kPair], factors of the merge
  float* take;
  float* m;  // [kTileQueries], the merge so far
  float* l;
  float* o;          // [kTileQueries][value_dims]
  std::byte* plain;  // AttentionWorkspace
  std::byte* keys;   // of codes: weight tiles [page of the split][key_dims / 32], bf16
};

}  // namespace dunlin

// Attention of one query row and head in splits of 256 positions (docs/decisions/0002-numerics.md).
// Softmax by running maximum: Milakov and Gimelshein, "Online normalizer calculation for softmax",
// 2018.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/reference/scalar.h"
#include "base/scalar_math.h"

namespace dunlin::reference {
namespace {

struct Range {
  int64_t begin;
  int64_t end;
};

// Positions that the mask lets a query at `position` see.
Range visible_positions(int32_t position, const AttentionAttributes& attributes, int64_t length) {
  Range range{0, length};
  if (attributes.mask == MaskKind::causal) range.end = std::min<int64_t>(length, position + 1);
  if (attributes.window > 0) {
    range.begin = std::max<int64_t>(0, position + 1 - attributes.window);
  }
  return range;
}

// m, l and o[head_dim] over part of the keys: the softmax's numerator is o, its denominator l, both
// times exp(-m).
struct Partial {
  float m = -std::numeric_limits<float>::infinity();
  float l = 0.0f;
  std::vector<float> o;
};

// Probabilities of the split from `first` on become what its values are weighed with. Those that are
// not visible stay zero, whatever their scales are.
void weigh_with(float (&probabilities)[kSplitPositions], const KeyValues& cache, int64_t first,
                Range visible, bool round_bf16) {
  for (int64_t u = visible.begin; u < visible.end; ++u) {
    if (cache.present[u] == 0) continue;
    float& p = probabilities[u - first];
    if (cache.value_scales != nullptr) p = p * cache.value_scales[u];
    if (round_bf16) p = round_to_bf16(p);
  }
}

// One split: scores, probabilities and their sums over positions [visible.begin, visible.end), all
// within [first, first + 256). Returns false when no key is there.
bool attend_split(const std::vector<float>& q, const KeyValues& cache, int64_t first, Range visible,
                  const AttentionAttributes& attributes, bool round_bf16, Partial& split) {
  const auto head_dim = static_cast<int64_t>(q.size());
  float scores[kSplitPositions];
  split.m = -std::numeric_limits<float>::infinity();
  bool any = false;
  for (int64_t u = visible.begin; u < visible.end; ++u) {
    if (cache.present[u] == 0) continue;
    float score = chain_dot(q.data(), cache.keys + u * head_dim, head_dim);
    if (cache.key_scales != nullptr) score = score * cache.key_scales[u];
    score = score * attributes.scale;
    if (attributes.softcap > 0.0f) score = softcap(score, attributes.softcap);
    scores[u - first] = score;
    split.m = any ? std::max(split.m, score) : score;
    any = true;
  }
  if (!any) return false;
  float probabilities[kSplitPositions] = {};
  for (int64_t u = visible.begin; u < visible.end; ++u) {
    if (cache.present[u] != 0) probabilities[u - first] = exp_f32(scores[u - first] - split.m);
  }
  split.l = lane_sum(probabilities, kSplitPositions);
  weigh_with(probabilities, cache, first, visible, round_bf16);
  chain_dot_columns(probabilities, cache.values + first * head_dim, visible.begin - first,
                    visible.end - first, head_dim, split.o.data());
  return true;
}

void merge(const Partial& split, Partial& total) {
  const float m = std::max(total.m, split.m);
  const float a = exp_f32(total.m - m);
  const float b = exp_f32(split.m - m);
  total.l = std::fma(split.l, b, total.l * a);
  for (size_t d = 0; d < total.o.size(); ++d) {
    total.o[d] = std::fma(split.o[d], b, total.o[d] * a);
  }
  total.m = m;
}

}  // namespace

void attention(const float* q, int32_t position, const KeyValues& cache, int64_t head_dim,
               const AttentionAttributes& attributes, const float* sink, bool round_bf16,
               float* y) {
  const auto width = static_cast<size_t>(head_dim);
  std::vector<float> query(q, q + head_dim);
  if (round_bf16) {
    for (float& value : query) value = round_to_bf16(value);
  }
  Partial total;
  total.o.assign(width, 0.0f);
  if (sink != nullptr) {
    total.m = *sink;
    total.l = 1.0f;
  }
  Partial split;
  split.o.resize(width);
  const Range visible = visible_positions(position, attributes, cache.length);
  for (int64_t first = visible.begin / kSplitPositions * kSplitPositions; first < visible.end;
       first += kSplitPositions) {
    const Range within{std::max(visible.begin, first),
                       std::min(visible.end, first + kSplitPositions)};
    if (attend_split(query, cache, first, within, attributes, round_bf16, split)) {
      merge(split, total);
    }
  }
  const float scale = 1.0f / total.l;
  for (size_t d = 0; d < width; ++d) y[d] = total.o[d] * scale;
}

}  // namespace dunlin::reference

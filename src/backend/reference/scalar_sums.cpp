// Sums of docs/decisions/0002-numerics.md: the chain dot (bit for bit AMX's TDPBF16PS) and the
// sixteen lanes.
#include <algorithm>
#include <cmath>

#include "backend/reference/fma_dispatch.h"
#include "backend/reference/scalar.h"
#include "base/float16.h"

namespace dunlin::reference {
namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kLanes = 16;

DUNLIN_FMA_BODY float chain_dot_body(const float* x, const float* w, int64_t count) {
  float c = 0.0f;
  for (int64_t block = 0; block < count; block += kBlock) {
    const int64_t end = std::min(block + kBlock, count);
    float even = 0.0f;
    float odd = 0.0f;
    int64_t k = block;
    for (; k + 1 < end; k += 2) {
      even = std::fma(x[k], w[k], even);
      odd = std::fma(x[k + 1], w[k + 1], odd);
    }
    if (k < end) even = std::fma(x[k], w[k], even);
    c = c + (even + odd);
  }
  return c;
}

// sums[i] = fma(x, w[i], sums[i]).
template <int64_t Width>
DUNLIN_FMA_BODY void add_products(float x, const float* w, float* sums) {
// Unrolled, g++ 12 leaves sixteen scalar instructions: 1.4 instead of 7 billion terms a second.
#pragma GCC unroll 1
  for (int64_t i = 0; i < Width; ++i) sums[i] = std::fma(x, w[i], sums[i]);
}

// `Width` columns side by side, each with its own chains.
template <int64_t Width>
DUNLIN_FMA_BODY void chain_columns_body(const float* x, const float* w, int64_t begin, int64_t end,
                                        int64_t stride, float* y) {
  float c[Width] = {};
  for (int64_t block = begin - begin % kBlock; block < end; block += kBlock) {
    float even[Width] = {};
    float odd[Width] = {};
    const int64_t last = std::min(block + kBlock, end);
    int64_t k = std::max(block, begin);
    if (k % 2 != 0) {
      add_products<Width>(x[k], w + k * stride, odd);
      ++k;
    }
    for (; k + 1 < last; k += 2) {
      add_products<Width>(x[k], w + k * stride, even);
      add_products<Width>(x[k + 1], w + (k + 1) * stride, odd);
    }
    if (k < last) add_products<Width>(x[k], w + k * stride, even);
    for (int64_t i = 0; i < Width; ++i) c[i] = c[i] + (even[i] + odd[i]);
  }
  std::copy_n(c, Width, y);
}

DUNLIN_FMA_BODY void chain_all_columns_body(const float* x, const float* w, int64_t begin,
                                            int64_t end, int64_t width, float* y) {
  int64_t column = 0;
  for (; column + kLanes <= width; column += kLanes) {
    chain_columns_body<kLanes>(x, w + column, begin, end, width, y + column);
  }
  for (; column < width; ++column) {
    chain_columns_body<1>(x, w + column, begin, end, width, y + column);
  }
}

float add_lanes(float (&lane)[kLanes]) {
  for (int64_t step = kLanes / 2; step > 0; step /= 2) {
    for (int64_t i = 0; i < step; ++i) lane[i] = lane[i] + lane[i + step];
  }
  return lane[0];
}

DUNLIN_FMA_BODY float sum_of_squares_body(const float* values, int64_t count) {
  float lane[kLanes] = {};
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t width = std::min(kLanes, count - first);
    for (int64_t i = 0; i < width; ++i) {
      lane[i] = std::fma(values[first + i], values[first + i], lane[i]);
    }
  }
  return add_lanes(lane);
}

DUNLIN_TARGET_FMA float chain_dot_fma(const float* x, const float* w, int64_t count) {
  return chain_dot_body(x, w, count);
}
DUNLIN_TARGET_FMA void chain_dot_columns_fma(const float* x, const float* w, int64_t begin,
                                             int64_t end, int64_t width, float* y) {
  chain_all_columns_body(x, w, begin, end, width, y);
}
DUNLIN_TARGET_FMA float sum_of_squares_fma(const float* values, int64_t count) {
  return sum_of_squares_body(values, count);
}

}  // namespace

float chain_dot(const float* x, const float* w, int64_t count) {
  return has_fma() ? chain_dot_fma(x, w, count) : chain_dot_body(x, w, count);
}

void chain_dot_columns(const float* x, const float* w, int64_t begin, int64_t end, int64_t width,
                       float* y) {
  if (has_fma()) {
    chain_dot_columns_fma(x, w, begin, end, width, y);
  } else {
    chain_all_columns_body(x, w, begin, end, width, y);
  }
}

float lane_sum(const float* values, int64_t count) {
  float lane[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lane[i % kLanes] = lane[i % kLanes] + values[i];
  return add_lanes(lane);
}

float lane_sum_of_squares(const float* values, int64_t count) {
  return has_fma() ? sum_of_squares_fma(values, count) : sum_of_squares_body(values, count);
}

float round_to_bf16(float value) {
  return to_float(to_bfloat16(value));
}

}  // namespace dunlin::reference

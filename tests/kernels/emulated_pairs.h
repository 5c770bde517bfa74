// SMMLA over plain lanes, in the place of backend/cpu/kernels/i8mm/pairs.h, so that the logic of the
// kernels is tested bit for bit on any processor.
#pragma once

#include <cstdint>
#include <cstring>

#include "backend/cpu/kernels/scalar/simd.h"

namespace dunlin::i8mm {
namespace {
using namespace scalar;

struct PairRows {
  int8_t row[2][8];
};
// Lanes 4 i .. 4 i + 3 are a register: eight bytes of each of two channels.
struct PairWeights {
  Ints low;   // channels 4 i and 4 i + 1
  Ints high;  // 4 i + 2 and 4 i + 3
};
// Of a register: row 0 and both channels, row 1 and both channels.
struct PairSums {
  Ints low;
  Ints high;
};

inline PairRows pair_rows(const int8_t* first, const int8_t* second) {
  PairRows rows;
  std::memcpy(rows.row[0], first, 8);
  std::memcpy(rows.row[1], second, 8);
  return rows;
}

inline PairWeights pair_weights(const Ints& codes, const Ints& next) {
  PairWeights weights;
  for (int i = 0; i < 16; i += 4) {
    for (int channel = 0; channel < 2; ++channel) {
      weights.low.lane[i + 2 * channel] = codes.lane[i + channel];
      weights.low.lane[i + 2 * channel + 1] = next.lane[i + channel];
      weights.high.lane[i + 2 * channel] = codes.lane[i + 2 + channel];
      weights.high.lane[i + 2 * channel + 1] = next.lane[i + 2 + channel];
    }
  }
  return weights;
}

// Byte k of the eight that two lanes hold.
inline int32_t byte_of(const int32_t* lanes, int k) {
  return static_cast<int8_t>(lanes[k / 4] >> (8 * (k % 4)));
}

// As the Arm Architecture Reference Manual has SMMLA: 2 x 8 signed bytes by 8 x 2, added to 2 x 2
// sums.
inline Ints add_products(Ints sums, const PairRows& rows, const Ints& weights) {
  for (int i = 0; i < 16; i += 4) {
    for (int row = 0; row < 2; ++row) {
      for (int channel = 0; channel < 2; ++channel) {
        int32_t& sum = sums.lane[i + 2 * row + channel];
        for (int k = 0; k < 8; ++k)
          sum += rows.row[row][k] * byte_of(weights.lane + i + 2 * channel, k);
      }
    }
  }
  return sums;
}
inline PairSums add_pair_products(const PairSums& sums, const PairRows& rows,
                                  const PairWeights& weights) {
  return {add_products(sums.low, rows, weights.low), add_products(sums.high, rows, weights.high)};
}

inline Ints row_of(const PairSums& sums, int row) {
  Ints result;
  for (int i = 0; i < 16; i += 4) {
    for (int channel = 0; channel < 2; ++channel) {
      result.lane[i + channel] = sums.low.lane[i + 2 * row + channel];
      result.lane[i + 2 + channel] = sums.high.lane[i + 2 * row + channel];
    }
  }
  return result;
}
inline Ints first_row(const PairSums& sums) {
  return row_of(sums, 0);
}
inline Ints second_row(const PairSums& sums) {
  return row_of(sums, 1);
}

}  // namespace
}  // namespace dunlin::i8mm

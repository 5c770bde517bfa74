// Arithmetic: the four ways a `linear` multiplies (docs/decisions/0002-numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>

namespace dunlin {

// int8wide: int8 with one scale for all columns, of activations and of weights.
enum class Arithmetic : uint8_t { f32, bf16, int8, int8wide };
inline constexpr size_t kArithmetics = 4;

constexpr bool is_integer(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::int8 || arithmetic == Arithmetic::int8wide;
}

// Sums of int8wide have 32 bits, and each column adds at most 127 * 127.
inline constexpr int64_t kMostWideColumns = 133'144;

}  // namespace dunlin

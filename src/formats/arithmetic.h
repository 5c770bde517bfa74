// Arithmetic: the three ways a `linear` multiplies (docs/decisions/0002-numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>

namespace dunlin {

enum class Arithmetic : uint8_t { f32, bf16, int8 };
inline constexpr size_t kArithmetics = 3;

}  // namespace dunlin

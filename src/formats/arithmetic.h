// Arithmetic: the three ways a `linear` multiplies (docs/decisions/0002-numerics.md).
#pragma once

#include <cstdint>

namespace dunlin {

enum class Arithmetic : uint8_t { f32, bf16, int8 };

}  // namespace dunlin

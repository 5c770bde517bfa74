// Precision: the arithmetic profiles (docs/decisions/0002-numerics.md).
#pragma once

#include <cstdint>

namespace dunlin {

enum class Precision : uint8_t {
  automatic,  // int8 for generated tokens of integer formats, bf16 otherwise
  exact,      // bf16 for all
  int8,       // int8 for prompts of integer formats, too
  f32,        // for parity with other implementations
  fast,       // int8 for all but F32, with one scale for a whole row of activations or of weights
};

}  // namespace dunlin

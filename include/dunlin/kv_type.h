// KvType: what the keys and values of a KV cache are kept as (docs/decisions/0002-numerics.md,
// "Attention").
#pragma once

#include <cstdint>

namespace dunlin {

enum class KvType : uint8_t {
  bf16,
  f32,
  int8,  // codes, with a float32 scale for each key and each value: of a position and kv head
};

}  // namespace dunlin

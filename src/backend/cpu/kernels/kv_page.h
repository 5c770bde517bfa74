// The layout of a KV page: 16 consecutive positions (aligned to 16) of one layer and kv head, keys
// then values.
//
//   keys, bf16:   line j (64 B) = 16 positions x dimensions (2j, 2j+1): a page is a packed bf16
//   stripe whose channels
//                 are positions, and an AMX weight tile per 32 dimensions. Dimensions are padded to
//                 32 with zeros.
//   keys, f32:    line d = 16 positions of dimension d.
//   values, bf16: for each 16 dimensions, line j = 16 dimensions x positions (2j, 2j+1), 8 lines:
//   two pages make an AMX
//                 weight tile of 32 positions. Dimensions are padded to 16 with zeros.
//   values, f32:  for each 16 dimensions, line u = 16 dimensions of position u, 16 lines.
#pragma once

#include <cstdint>

#include "step/step.h"

namespace dunlin {

inline constexpr int64_t kSplitTokens =
    256;  // positions per attention split (docs/decisions/0002-numerics.md)

enum class KvType : uint8_t { bf16, f32 };

inline constexpr int64_t kv_element_bytes(KvType type) {
  return type == KvType::bf16 ? 2 : 4;
}
inline constexpr int64_t kv_key_dims(int64_t head_dim) {
  return (head_dim + 31) / 32 * 32;
}
inline constexpr int64_t kv_value_dims(int64_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}

// Bytes from a page's start to its values, and of the whole page: multiples of 64.
inline constexpr int64_t kv_value_offset(KvType type, int64_t head_dim) {
  return kPageTokens * kv_key_dims(head_dim) * kv_element_bytes(type);
}
inline constexpr int64_t kv_page_bytes(KvType type, int64_t head_dim) {
  return kv_value_offset(type, head_dim) +
         kPageTokens * kv_value_dims(head_dim) * kv_element_bytes(type);
}

}  // namespace dunlin

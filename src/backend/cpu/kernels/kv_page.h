// The layout of a KV page: 16 consecutive positions (aligned to 16) of one layer and kv head, keys
// then values.
//
//   keys, bf16:   line j (64 B) = 16 positions x dimensions (2j, 2j+1): a page is a packed bf16
//   stripe whose channels
//                 are positions, and an AMX weight tile per 32 dimensions. Dimensions are padded to
//                 32 with zeros.
//   keys, f32:    line d = 16 positions of dimension d.
//   keys, int8:   line d (16 B) = codes of dimension d at 16 positions; behind all lines the scales
//                 of the 16 keys.
//   values, bf16: for each 16 dimensions, line j = 16 dimensions x positions (2j, 2j+1), 8 lines:
//   two pages make an AMX
//                 weight tile of 32 positions. Dimensions are padded to 16 with zeros.
//   values, f32:  for each 16 dimensions, line u = 16 dimensions of position u, 16 lines.
//   values, int8: the same with lines of 16 B; behind all lines the scales of the 16 values.
#pragma once

#include <dunlin/kv_type.h>

#include <cstdint>

#include "step/step.h"

namespace dunlin {

inline constexpr int64_t kSplitTokens =
    256;  // positions per attention split (docs/decisions/0002-numerics.md)

inline constexpr int kKvTypes = 3;

inline constexpr bool kv_has_scales(KvType type) {
  return type == KvType::int8;
}
inline constexpr int64_t kv_element_bytes(KvType type) {
  return type == KvType::bf16 ? 2 : type == KvType::f32 ? 4 : 1;
}
inline constexpr int64_t kv_key_dims(int64_t head_dim) {
  return (head_dim + 31) / 32 * 32;
}
inline constexpr int64_t kv_value_dims(int64_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}
// Bytes of the scales of a page's keys, or of its values: float32.
inline constexpr int64_t kv_scale_bytes(KvType type) {
  return kv_has_scales(type) ? kPageTokens * 4 : 0;
}

// Bytes from a page's start to its values, and of the whole page: multiples of 64.
inline constexpr int64_t kv_value_offset(KvType type, int64_t head_dim) {
  return kPageTokens * kv_key_dims(head_dim) * kv_element_bytes(type) + kv_scale_bytes(type);
}
inline constexpr int64_t kv_page_bytes(KvType type, int64_t head_dim) {
  return kv_value_offset(type, head_dim) +
         kPageTokens * kv_value_dims(head_dim) * kv_element_bytes(type) + kv_scale_bytes(type);
}

// Bytes from a page's start to the scales of its keys, and to those of its values, of a type that has
// scales.
inline constexpr int64_t kv_key_scales_offset(int64_t head_dim) {
  return kPageTokens * kv_key_dims(head_dim);
}
inline constexpr int64_t kv_value_scales_offset(int64_t head_dim) {
  return kv_page_bytes(KvType::int8, head_dim) - kv_scale_bytes(KvType::int8);
}

// Bytes from a page's start to an element of the key in `slot`, and from its values (kv_value_offset)
// to one of a value. In bf16 two dimensions of keys, or positions of values, share four bytes.
inline constexpr int64_t kv_key_at(KvType type, int64_t slot, int64_t dim) {
  return type == KvType::bf16 ? 64 * (dim / 2) + 4 * slot + 2 * (dim % 2)
                              : kv_element_bytes(type) * (kPageTokens * dim + slot);
}
inline constexpr int64_t kv_value_at(KvType type, int64_t slot, int64_t dim) {
  return dim / 16 * kPageTokens * 16 * kv_element_bytes(type) + kv_key_at(type, dim % 16, slot);
}

}  // namespace dunlin

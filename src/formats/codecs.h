// The decoders and encoders of each format, one source file per format, gathered by the table in
// format.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dunlin {

#define DUNLIN_DECLARE_DECODE(format) \
  void decode_##format(const std::byte* blocks, int64_t elements, float* values)
#define DUNLIN_DECLARE_DECODE_GROUPS(format)                                            \
  void decode_groups_##format(const std::byte* blocks, int64_t elements, int8_t* codes, \
                              float* scales, float* mins)
#define DUNLIN_DECLARE_ENCODE(format) \
  void encode_##format(const float* values, int64_t elements, std::byte* blocks)

DUNLIN_DECLARE_DECODE(f32);
DUNLIN_DECLARE_DECODE(f16);
DUNLIN_DECLARE_DECODE(bf16);
DUNLIN_DECLARE_DECODE(q4_0);
DUNLIN_DECLARE_DECODE(q4_1);
DUNLIN_DECLARE_DECODE(q8_0);
DUNLIN_DECLARE_DECODE(q4_k);
DUNLIN_DECLARE_DECODE(q6_k);

DUNLIN_DECLARE_DECODE_GROUPS(q4_0);
DUNLIN_DECLARE_DECODE_GROUPS(q4_1);
DUNLIN_DECLARE_DECODE_GROUPS(q8_0);
DUNLIN_DECLARE_DECODE_GROUPS(q4_k);
DUNLIN_DECLARE_DECODE_GROUPS(q6_k);

DUNLIN_DECLARE_ENCODE(f32);
DUNLIN_DECLARE_ENCODE(f16);
DUNLIN_DECLARE_ENCODE(bf16);
DUNLIN_DECLARE_ENCODE(q4_0);
DUNLIN_DECLARE_ENCODE(q4_1);
DUNLIN_DECLARE_ENCODE(q8_0);

#undef DUNLIN_DECLARE_DECODE
#undef DUNLIN_DECLARE_DECODE_GROUPS
#undef DUNLIN_DECLARE_ENCODE

}  // namespace dunlin

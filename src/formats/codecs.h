// The decoders and encoders of each format, one source file per format, gathered by the table in
// format.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace dunlin {

#define DUNLIN_DECLARE_VALUES(format)                                                  \
  void decode_##format(const std::byte* blocks, int64_t elements, float* values);      \
  void encode_##format(const float* values, int64_t elements, const float* importance, \
                       std::byte* blocks)
#define DUNLIN_DECLARE_GROUPS(format)                                                   \
  void decode_groups_##format(const std::byte* blocks, int64_t elements, int8_t* codes, \
                              float* scales, float* mins)
#define DUNLIN_DECLARE_FACTORS(format) \
  void decode_factors_##format(const std::byte* blocks, int64_t elements, FactorArrays out)

DUNLIN_DECLARE_VALUES(f32);
DUNLIN_DECLARE_VALUES(f16);
DUNLIN_DECLARE_VALUES(bf16);
DUNLIN_DECLARE_VALUES(q4_0);
DUNLIN_DECLARE_VALUES(q4_1);
DUNLIN_DECLARE_VALUES(q5_0);
DUNLIN_DECLARE_VALUES(q5_1);
DUNLIN_DECLARE_VALUES(q8_0);
DUNLIN_DECLARE_VALUES(q2_k);
DUNLIN_DECLARE_VALUES(q3_k);
DUNLIN_DECLARE_VALUES(q4_k);
DUNLIN_DECLARE_VALUES(q5_k);
DUNLIN_DECLARE_VALUES(q6_k);
DUNLIN_DECLARE_VALUES(mxfp4);
DUNLIN_DECLARE_VALUES(i8);
DUNLIN_DECLARE_VALUES(f8_e4m3);
DUNLIN_DECLARE_VALUES(f8_e5m2);

DUNLIN_DECLARE_GROUPS(q4_0);
DUNLIN_DECLARE_GROUPS(q4_1);
DUNLIN_DECLARE_GROUPS(q5_0);
DUNLIN_DECLARE_GROUPS(q5_1);
DUNLIN_DECLARE_GROUPS(q8_0);
DUNLIN_DECLARE_GROUPS(q2_k);
DUNLIN_DECLARE_GROUPS(q3_k);
DUNLIN_DECLARE_GROUPS(q4_k);
DUNLIN_DECLARE_GROUPS(q5_k);
DUNLIN_DECLARE_GROUPS(q6_k);
DUNLIN_DECLARE_GROUPS(mxfp4);
DUNLIN_DECLARE_GROUPS(i8);

DUNLIN_DECLARE_FACTORS(q2_k);
DUNLIN_DECLARE_FACTORS(q3_k);
DUNLIN_DECLARE_FACTORS(q4_k);
DUNLIN_DECLARE_FACTORS(q5_k);
DUNLIN_DECLARE_FACTORS(q6_k);

#undef DUNLIN_DECLARE_VALUES
#undef DUNLIN_DECLARE_GROUPS
#undef DUNLIN_DECLARE_FACTORS

}  // namespace dunlin

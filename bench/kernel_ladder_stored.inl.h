// Q4_0 as a file has it (formats/q4_0.cpp): byte k of a block's codes holds column k in its low half and
// column k + 16 in its high half. Included inside a target region, after <immintrin.h>.

inline const uint8_t* stored_block(const std::byte* stored, int64_t blocks, int64_t channel,
                                   int64_t block) {
  return reinterpret_cast<const uint8_t*>(stored + (channel * blocks + block) * kStoredBlockBytes);
}

inline float stored_scale(const uint8_t* block) {
  const int bits = block[0] | block[1] << 8;
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

inline int stored_code(const uint8_t* block, int k) {
  const int both = block[2 + k % 16];
  return (k < 16 ? both & 15 : both >> 4) - 8;
}

// To the nearest bf16, ties to even; weights are numbers.
inline float to_nearest_bf16(float value) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof bits);
  bits = (bits + (bits >> 16 & 1u) + 0x7fffu) & 0xffff0000u;
  __builtin_memcpy(&value, &bits, sizeof bits);
  return value;
}

// As the bf16 arithmetic multiplies it.
inline float stored_weight(const uint8_t* block, int k) {
  return to_nearest_bf16(stored_scale(block) * static_cast<float>(stored_code(block, k)));
}

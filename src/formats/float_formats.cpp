// F32, F16 and BF16: little-endian floats, one element per block.
#include <bit>
#include <cstring>

#include "base/float16.h"
#include "formats/codecs.h"

namespace dunlin {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files are little-endian and copied as they are");

template <typename Half>
void decode_halves(const std::byte* blocks, int64_t elements, float* values) {
  for (int64_t i = 0; i < elements; ++i) {
    Half half;
    std::memcpy(&half, blocks + 2 * i, 2);
    values[i] = to_float(half);
  }
}

template <typename Half>
void encode_halves(const float* values, int64_t elements, std::byte* blocks,
                   Half (*convert)(float)) {
  for (int64_t i = 0; i < elements; ++i) {
    const Half half = convert(values[i]);
    std::memcpy(blocks + 2 * i, &half, 2);
  }
}

}  // namespace

void decode_f32(const std::byte* blocks, int64_t elements, float* values) {
  if (elements > 0) std::memcpy(values, blocks, static_cast<size_t>(elements) * sizeof(float));
}

void decode_f16(const std::byte* blocks, int64_t elements, float* values) {
  decode_halves<float16>(blocks, elements, values);
}

void decode_bf16(const std::byte* blocks, int64_t elements, float* values) {
  decode_halves<bfloat16>(blocks, elements, values);
}

void encode_f32(const float* values, int64_t elements, const float* /*importance*/,
                std::byte* blocks) {
  if (elements > 0) std::memcpy(blocks, values, static_cast<size_t>(elements) * sizeof(float));
}

void encode_f16(const float* values, int64_t elements, const float* /*importance*/,
                std::byte* blocks) {
  encode_halves(values, elements, blocks, to_float16);
}

void encode_bf16(const float* values, int64_t elements, const float* /*importance*/,
                 std::byte* blocks) {
  encode_halves(values, elements, blocks, to_bfloat16);
}

}  // namespace dunlin

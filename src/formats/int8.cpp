// I8: a signed byte per element. The scales of a weight lie beside its elements (row_form.h).
// Blocks of 32, which the int8 arithmetic sums at a time, have no bytes of their own.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/codecs.h"

namespace dunlin {
namespace {

constexpr int64_t kGroup = 32;

// To nearest, ties to even, -127 to 127; NaN gives 0.
int8_t nearest(float value) {
  if (std::isnan(value)) return 0;
  return static_cast<int8_t>(std::nearbyint(std::clamp(value, -127.0f, 127.0f)));
}

}  // namespace

void decode_i8(const std::byte* blocks, int64_t elements, float* values) {
  for (int64_t i = 0; i < elements; ++i)
    values[i] = static_cast<float>(static_cast<int8_t>(blocks[i]));
}

void decode_groups_i8(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                      float* /*mins*/) {
  if (elements == 0) return;
  std::memcpy(codes, blocks, static_cast<size_t>(elements));
  std::fill_n(scales, elements / kGroup, 1.0f);
}

// 255 levels leave importance nothing to choose.
void encode_i8(const float* values, int64_t elements, const float* /*importance*/,
               std::byte* blocks) {
  for (int64_t i = 0; i < elements; ++i) blocks[i] = static_cast<std::byte>(nearest(values[i]));
}

}  // namespace dunlin

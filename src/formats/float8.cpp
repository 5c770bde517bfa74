// F8_E4M3 and F8_E5M2: a byte per element. The scales of a weight lie beside its elements
// (row_form.h).
#include "formats/float8.h"

#include <array>

#include "formats/codecs.h"

namespace dunlin {
namespace {

constexpr std::array<float, 256> all_values(Float8Type type) {
  std::array<float, 256> values = {};
  for (size_t code = 0; code < values.size(); ++code)
    values[code] = float8_value(type, static_cast<uint8_t>(code));
  return values;
}

constexpr std::array<float, 256> kE4M3Values = all_values(kE4M3);
constexpr std::array<float, 256> kE5M2Values = all_values(kE5M2);

void decode(const std::array<float, 256>& table, const std::byte* codes, int64_t elements,
            float* values) {
  for (int64_t i = 0; i < elements; ++i) values[i] = table[static_cast<uint8_t>(codes[i])];
}

void encode(Float8Type type, const float* values, int64_t elements, std::byte* codes) {
  for (int64_t i = 0; i < elements; ++i)
    codes[i] = static_cast<std::byte>(to_float8(type, values[i]));
}

}  // namespace

void decode_f8_e4m3(const std::byte* blocks, int64_t elements, float* values) {
  decode(kE4M3Values, blocks, elements, values);
}

void decode_f8_e5m2(const std::byte* blocks, int64_t elements, float* values) {
  decode(kE5M2Values, blocks, elements, values);
}

// 256 levels leave importance nothing to choose.
void encode_f8_e4m3(const float* values, int64_t elements, const float* /*importance*/,
                    std::byte* blocks) {
  encode(kE4M3, values, elements, blocks);
}

void encode_f8_e5m2(const float* values, int64_t elements, const float* /*importance*/,
                    std::byte* blocks) {
  encode(kE5M2, values, elements, blocks);
}

}  // namespace dunlin

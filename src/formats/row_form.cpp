#include "formats/row_form.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace dunlin {
namespace {

float scale_at(const std::byte* row, int64_t index) {
  float scale;
  std::memcpy(&scale, row + 4 * index, 4);
  return scale;
}

}  // namespace

void RowForm::decode(const std::byte* rows, int64_t count, float* values) const {
  if (scale_columns == 0) {
    format->decode(rows, count * columns, values);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = rows + i * bytes();
    float* out = values + i * columns;
    format->decode(row + scale_bytes(), columns, out);
    for (int64_t part = 0; part < scales(); ++part) {
      const float scale = scale_at(row, part);
      const int64_t end = std::min(columns, (part + 1) * scale_columns);
      for (int64_t k = part * scale_columns; k < end; ++k) out[k] *= scale;
    }
  }
}

void RowForm::decode_groups(const std::byte* row, int8_t* codes, float* group_scales,
                            float* mins) const {
  format->decode_groups(row + scale_bytes(), columns, codes, group_scales, mins);
  if (scale_columns == 0) return;
  for (int64_t g = 0; g < columns / format->group; ++g)
    group_scales[g] *= scale_at(row, g * format->group / scale_columns);
}

void RowForm::find_scales(const float* values, int64_t count, float* into) const {
  DUNLIN_CHECK(format->largest > 0 && scale_columns > 0, "the scales lie in the blocks");
  for (int64_t i = 0; i < scales(); ++i) {
    const int64_t begin = i * scale_columns;
    const int64_t end = std::min(columns, begin + scale_columns);
    float magnitude = 0.0f;
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t k = begin; k < end; ++k)
        magnitude = std::max(magnitude, std::abs(values[row * columns + k]));
    }
    // Not denormal, as computing threads take such numbers for zero.
    into[i] = magnitude == 0.0f
                  ? 1.0f
                  : std::max(magnitude / format->largest, std::numeric_limits<float>::min());
  }
}

void RowForm::encode(const float* values, const float* row_scales, std::byte* row) const {
  constexpr int64_t kPiece = 256;  // whole blocks of every such format
  std::array<float, kPiece> scaled;
  std::memcpy(row, row_scales, static_cast<size_t>(scale_bytes()));
  std::byte* const elements = row + scale_bytes();
  for (int64_t begin = 0; begin < columns;) {
    const int64_t part = begin / scale_columns;
    const int64_t end = std::min({columns, begin + kPiece, (part + 1) * scale_columns});
    for (int64_t k = begin; k < end; ++k)
      scaled[static_cast<size_t>(k - begin)] = values[k] / row_scales[part];
    format->encode(scaled.data(), end - begin, nullptr, elements + begin);
    begin = end;
  }
}

}  // namespace dunlin

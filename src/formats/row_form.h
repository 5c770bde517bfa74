// RowForm: what the bytes of a row of a weight are. Most formats keep their scales in their blocks,
// so a row is its blocks. The scales of I8, F8_E4M3 and F8_E5M2 lie beside the elements, one for a
// block of rows and columns: value = scale * element, rounded once to float32. A row of those, as
// it goes to back ends, is its scales in float32 and then its elements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

namespace dunlin {

struct RowForm {
  const FormatTraits* format;
  int64_t columns;
  int64_t scale_columns = 0;  // that share a scale; 0: no scales beside the elements

  int64_t scales() const {
    if (scale_columns == 0) return 0;
    return columns / scale_columns + (columns % scale_columns != 0 ? 1 : 0);
  }
  int64_t scale_bytes() const { return scales() * int64_t{4}; }
  int64_t bytes() const { return scale_bytes() + row_bytes(*format, columns); }

  // Rows of `some` of these columns. A row with one scale keeps it; of several, each serves as many
  // columns as here.
  RowForm of_columns(int64_t some) const {
    return {format, some, scales() == 1 ? some : scale_columns};
  }

  // `count` rows to float32 [count, columns].
  void decode(const std::byte* rows, int64_t count, float* values) const;
  // One row of an integer format, as FormatTraits::decode_groups.
  void decode_groups(const std::byte* row, int8_t* codes, float* group_scales, float* mins) const;

  // ---- encoding, of a format whose scales lie beside ----

  // The scales [scales()] that `count` rows share: the largest magnitude of their columns over the
  // largest number of the format, and 1 where all are zero.
  void find_scales(const float* values, int64_t count, float* into) const;
  // A row, with these scales: value / scale in the format.
  void encode(const float* values, const float* row_scales, std::byte* row) const;
};

}  // namespace dunlin

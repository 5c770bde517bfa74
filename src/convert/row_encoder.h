// RowEncoder: rows of a weight in another format, a bounded piece at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "formats/row_form.h"
#include "formats/weight_view.h"

namespace dunlin {

// What rows become.
struct RowTarget {
  RowForm form;
  int64_t scale_rows = 1;  // that share their scales, from the first row on
  // > 0: rows go from canonical order to that of GGUF's query and key matrices, the inverse of
  // RowMap::rope_head_dim: h*D + j is row h*D + (j mod 2)*(D/2) + j div 2 of the view.
  int64_t interleaved_head_dim = 0;
  // How much an error counts, by column, of a stack [stacks, columns]; empty: all columns alike.
  std::span<const float> importance = {};
};

// About so many elements are decoded at a time, or the rows that share their scales; of columns that
// lie apart more, since each is read by itself: 90 rows of gpt-oss's experts instead of 5.
inline constexpr int64_t kEncodedElements = 1 << 14;
inline int64_t encoded_elements(const WeightView& view) {
  return view.columns_apart ? 16 * kEncodedElements : kEncodedElements;
}

// For one thread at a time. View and target outlive it.
class RowEncoder {
 public:
  RowEncoder(const WeightView& view, const RowTarget& target) : view_(view), target_(target) {}

  // Rows [first, first + count) of the result, as target.form says. Errors name the tensor: it
  // cannot be read; a value that the format cannot hold, such as NaN. Where the format does not
  // change, bytes are copied as they are.
  Result<void> encode(int64_t first, int64_t count, std::byte* rows);

  // The scales of the row blocks [first, first + count), form.scales() of each.
  Result<void> find_scales(int64_t first, int64_t count, float* scales);

 private:
  Result<void> read(int64_t first, int64_t count, std::span<std::byte> into) const;
  Result<void> load(int64_t first, int64_t count);
  Result<void> encode_scaled(int64_t first, int64_t count, std::byte* rows);

  const WeightView& view_;
  const RowTarget& target_;
  std::vector<std::byte> stored_ = {};
  std::vector<float> values_ = {};  // of the rows that were loaded
};

}  // namespace dunlin

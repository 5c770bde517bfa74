// Reads rows of a weight in canonical order: in one piece where the stored order is the same,
// otherwise row by row, and element by element for a vector, whose map permutes elements.
#include "formats/weight_view.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

// A vector's elements are one output feature each, as the rows of a matrix are.
Result<void> read_mapped_vector(const WeightView& view, std::span<std::byte> into) {
  const auto element = static_cast<size_t>(traits(view.format).block_bytes);
  DUNLIN_CHECK(traits(view.format).block_elements == 1,
               "a mapped vector has one element per block");
  int64_t stored_count = 0;
  for (int64_t i = 0; i < view.columns; ++i) {
    stored_count = std::max(stored_count, view.row_map.stored_row(i) + 1);
  }
  std::vector<std::byte> stored(static_cast<size_t>(stored_count) * element);
  DUNLIN_RETURN_IF_ERROR(view.source->read_at(view.offset, stored));
  for (int64_t i = 0; i < view.columns; ++i) {
    std::memcpy(into.data() + static_cast<size_t>(i) * element,
                stored.data() + static_cast<size_t>(view.row_map.stored_row(i)) * element, element);
  }
  return {};
}

}  // namespace

uint64_t WeightView::stored_bytes() const {
  if (scales == nullptr) return static_cast<uint64_t>(rows * bytes_per_row());
  return static_cast<uint64_t>(rows * row_bytes(traits(format), columns)) +
         scales->values.size() * sizeof(float);
}

Result<void> WeightView::read_rows(int64_t first, int64_t count, std::span<std::byte> into) const {
  DUNLIN_CHECK(first >= 0 && count >= 0 && count <= rows && first <= rows - count,
               "rows outside the weight");
  const auto bytes = static_cast<size_t>(bytes_per_row());
  DUNLIN_CHECK(into.size() == bytes * static_cast<size_t>(count),
               "the buffer is not the size of the rows");
  if (count == 0) return {};
  if (scales == nullptr) return read_stored(first, count, into);
  const RowForm form = row_form();
  const auto scale_bytes = static_cast<size_t>(form.scale_bytes());
  const size_t element_bytes = bytes - scale_bytes;
  // The elements go to the end, and from there forward row by row.
  const auto elements = into.last(element_bytes * static_cast<size_t>(count));
  DUNLIN_RETURN_IF_ERROR(read_stored(first, count, elements));
  for (int64_t i = 0; i < count; ++i) {
    std::byte* const row = into.data() + static_cast<size_t>(i) * bytes;
    std::memmove(row + scale_bytes, elements.data() + static_cast<size_t>(i) * element_bytes,
                 element_bytes);
    const int64_t at = row_map.stored_row(first + i) / scales->rows * scales->per_row;
    std::memcpy(row, scales->values.data() + at, scale_bytes);
  }
  return {};
}

Result<void> WeightView::read_stored(int64_t first, int64_t count,
                                     std::span<std::byte> into) const {
  const size_t bytes = into.size() / static_cast<size_t>(count);
  if (row_map.identity())
    return source->read_at(offset + static_cast<uint64_t>(first) * bytes, into);
  if (rows == 1) return read_mapped_vector(*this, into);
  for (int64_t i = 0; i < count; ++i) {
    const auto stored = static_cast<uint64_t>(row_map.stored_row(first + i));
    DUNLIN_RETURN_IF_ERROR(source->read_at(offset + stored * bytes,
                                           into.subspan(static_cast<size_t>(i) * bytes, bytes)));
  }
  return {};
}

}  // namespace dunlin

// Reads rows of a weight in canonical order: in one piece where the stored order is the same, as lines
// of the source where rows lie apart, row by row where heads are permuted, and element by element for
// a vector, whose map permutes elements.
#include "formats/weight_view.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr RowMap kEvenRows{.offset = 0, .stride = 2};
constexpr RowMap kOddRows{.offset = 1, .stride = 2};

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
  if (row_map.rope_head_dim == 0) {
    return source->read_lines(
        {.offset = offset + static_cast<uint64_t>(row_map.stored_row(first)) * bytes,
         .step = static_cast<uint64_t>(row_map.stride) * bytes,
         .bytes = bytes,
         .count = static_cast<size_t>(count)},
        into.data(), bytes);
  }
  if (rows == 1) return read_mapped_vector(*this, into);
  for (int64_t i = 0; i < count; ++i) {
    const auto stored = static_cast<uint64_t>(row_map.stored_row(first + i));
    DUNLIN_RETURN_IF_ERROR(source->read_at(offset + stored * bytes,
                                           into.subspan(static_cast<size_t>(i) * bytes, bytes)));
  }
  return {};
}

std::optional<WeightView> rows_in_turn(const WeightView& even, const WeightView& odd) {
  const bool alike = even.source == odd.source && even.offset == odd.offset &&
                     even.format == odd.format && even.rows == odd.rows &&
                     even.columns == odd.columns && even.row_form().scales() == 0 &&
                     odd.row_form().scales() == 0;
  if (!alike || even.row_map != kEvenRows || odd.row_map != kOddRows) return std::nullopt;
  WeightView both = even;
  both.rows = 2 * even.rows;
  both.row_map = {};
  return both;
}

void part_rows(const std::byte* from, int64_t rows, int64_t bytes, std::byte* even,
               std::byte* odd) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy((i % 2 == 0 ? even : odd) + i / 2 * bytes, from + i * bytes,
                static_cast<size_t>(bytes));
  }
}

std::vector<std::optional<RowPair>> row_pairs(std::span<const WeightView> views) {
  const auto place = [](const WeightView& view) {
    return std::pair(view.source.get(), view.offset);
  };
  std::map<std::pair<const ByteSource*, uint64_t>, size_t> evens;
  for (size_t i = 0; i < views.size(); ++i) {
    if (views[i].row_map == kEvenRows) evens.emplace(place(views[i]), i);
  }
  std::vector<std::optional<RowPair>> pairs(views.size());
  for (size_t odd = 0; odd < views.size(); ++odd) {
    const auto found = evens.find(place(views[odd]));
    if (found == evens.end() || pairs[found->second] ||
        !rows_in_turn(views[found->second], views[odd]))
      continue;
    const RowPair pair{.even = found->second, .odd = odd};
    pairs[pair.even] = pair;
    pairs[pair.odd] = pair;
  }
  return pairs;
}

}  // namespace dunlin

// A tensor whose elements lie apart or in another order, as bytes in the order that is wanted: every
// other row, the columns of a transposed matrix.
#pragma once

#include <cstdint>
#include <memory>

#include "base/byte_source.h"

namespace dunlin {

// Element (s, r, c) of what is wanted, [stacks, rows, columns] row-major, is element s * stack_stride
// + r * row_stride + c * column_stride of what is stored.
struct StridedLayout {
  int64_t element_bytes = 0;  // an element may be a whole stored row
  int64_t stacks = 1, rows = 1, columns = 1;
  int64_t stack_stride = 0, row_stride = 0, column_stride = 1;
  uint64_t offset = 0;  // of stored element 0, bytes

  // Whether the elements of a column lie closer together than those of a row: a matrix that is stored
  // the other way round.
  bool is_transposed() const { return rows > 1 && column_stride > row_stride; }
  friend bool operator==(const StridedLayout&, const StridedLayout&) = default;
};

// Neighbours are read in runs of at most about a megabyte, elements far apart one by one; of an element
// only the bytes that are wanted. Of a matrix that is stored the other way round whole rows together,
// or lines (ByteSource::read_lines) of many rows, read each byte of the columns that they have once:
// a run of each column. All of `stored` that the layout names must exist.
std::shared_ptr<const ByteSource> strided_source(std::shared_ptr<const ByteSource> stored,
                                                 const StridedLayout& layout);

}  // namespace dunlin

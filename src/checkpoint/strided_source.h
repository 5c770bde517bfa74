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
};

// Reads in runs of at most about a megabyte, so that each element is read with its neighbours. All of
// `stored` that the layout names must exist.
std::shared_ptr<const ByteSource> strided_source(std::shared_ptr<const ByteSource> stored,
                                                 const StridedLayout& layout);

}  // namespace dunlin

// Elements in another order: every range and all lines against sums by hand, and what is read for them.
#include "checkpoint/strided_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/counted_source.h"

namespace dunlin {
namespace {

using Bytes = std::vector<std::byte>;

// Bytes 0, 1, 2, .. modulo a prime, behind some others.
constexpr uint64_t kBefore = 3;
std::shared_ptr<const ByteSource> counting_source(size_t bytes,
                                                  const std::shared_ptr<ReadCount>& count) {
  Bytes all(kBefore + bytes);
  for (size_t i = 0; i < bytes; ++i) all[kBefore + i] = static_cast<std::byte>(i % 251);
  return std::make_shared<CountedSource>(memory_source(std::move(all), "stored"), count);
}

// All bytes in the order that is wanted.
Bytes by_hand(const StridedLayout& layout) {
  Bytes all;
  for (int64_t s = 0; s < layout.stacks; ++s) {
    for (int64_t r = 0; r < layout.rows; ++r) {
      for (int64_t c = 0; c < layout.columns; ++c) {
        const int64_t element =
            s * layout.stack_stride + r * layout.row_stride + c * layout.column_stride;
        for (int64_t b = 0; b < layout.element_bytes; ++b)
          all.push_back(static_cast<std::byte>((element * layout.element_bytes + b) % 251));
      }
    }
  }
  return all;
}

struct Case {
  const char* name;
  StridedLayout layout;
};

const Case kCases[] = {
    {"transposed",
     {.element_bytes = 2,
      .stacks = 2,
      .rows = 5,
      .columns = 3,
      .stack_stride = 15,
      .row_stride = 1,
      .column_stride = 5,
      .offset = kBefore}},
    {"transposed, far apart",
     {.element_bytes = 4,
      .stacks = 1,
      .rows = 300,
      .columns = 3,
      .stack_stride = 900,
      .row_stride = 1,
      .column_stride = 300,
      .offset = kBefore}},
    {"halves of rows",
     {.element_bytes = 6,
      .stacks = 3,
      .columns = 2,
      .stack_stride = 4,
      .column_stride = 1,
      .offset = kBefore}},
    {"every other row", {.element_bytes = 7, .columns = 4, .column_stride = 2, .offset = kBefore}},
};

TEST(StridedSource, EveryRangeIsThatOfTheWhole) {
  for (const auto& [name, layout] : kCases) {
    const auto source =
        strided_source(counting_source(8192, std::make_shared<ReadCount>()), layout);
    const Bytes all = by_hand(layout);
    ASSERT_EQ(source->size(), all.size()) << name;
    const size_t step = all.size() > 500 ? 97 : 1;
    for (size_t begin = 0; begin <= all.size(); begin += step) {
      for (size_t end = begin; end <= all.size(); end += step) {
        Bytes bytes(end - begin);
        ASSERT_TRUE(source->read_at(begin, bytes).ok()) << name;
        ASSERT_TRUE(
            std::equal(bytes.begin(), bytes.end(), all.begin() + static_cast<ptrdiff_t>(begin)))
            << name << ": " << begin << ".." << end;
      }
    }
    Bytes behind(2);
    EXPECT_FALSE(source->read_at(all.size() - 1, behind).ok()) << name;
  }
}

// Of an element that is a row only the bytes that are asked for.
TEST(StridedSource, PartsOfElementsAreReadAlone) {
  const auto count = std::make_shared<ReadCount>();
  const StridedLayout layout{
      .element_bytes = 100, .columns = 4, .column_stride = 2, .offset = kBefore};
  const auto source = strided_source(counting_source(800, count), layout);
  Bytes bytes(10);
  ASSERT_TRUE(source->read_at(150, bytes).ok());
  EXPECT_EQ(bytes.front(), static_cast<std::byte>(250 % 251));
  EXPECT_EQ(count->bytes.load(), 10u);
  // The ends of two rows and what is between: rows 0 and 1 of the wanted are 0 and 2 of the stored.
  bytes.resize(110);
  count->bytes = 0;
  ASSERT_TRUE(source->read_at(95, bytes).ok());
  EXPECT_EQ(count->bytes.load(), 110u);
}

// All lines of all columns, of every and of every other row, to places that lie apart.
TEST(StridedSource, LinesAreThoseOfTheWhole) {
  for (const auto& [name, layout] : kCases) {
    const auto source =
        strided_source(counting_source(8192, std::make_shared<ReadCount>()), layout);
    const Bytes all = by_hand(layout);
    const auto row_bytes = static_cast<size_t>(layout.columns * layout.element_bytes);
    const size_t rows = all.size() / row_bytes;
    for (const size_t every : {size_t{1}, size_t{2}}) {
      for (size_t first = 0; first < std::min<size_t>(rows, 4); ++first) {
        for (size_t from = 0; from < row_bytes; ++from) {
          const size_t length = std::min<size_t>(row_bytes - from, 5);
          const size_t count = (rows - first + every - 1) / every;
          const size_t into_step = length + 3;
          Bytes bytes(count * into_step, std::byte{0xff});
          const ByteLines lines{.offset = first * row_bytes + from,
                                .step = every * row_bytes,
                                .bytes = length,
                                .count = count};
          ASSERT_TRUE(source->read_lines(lines, bytes.data(), into_step).ok()) << name;
          for (size_t i = 0; i < count; ++i) {
            const size_t at = (first + i * every) * row_bytes + from;
            for (size_t b = 0; b < into_step; ++b) {
              const std::byte wanted = b < length ? all[at + b] : std::byte{0xff};
              ASSERT_EQ(bytes[i * into_step + b], wanted) << name << ", line " << i;
            }
          }
        }
      }
    }
    Bytes bytes(4 * row_bytes);
    const ByteLines beyond{
        .offset = (rows - 1) * row_bytes, .step = row_bytes, .bytes = row_bytes, .count = 2};
    EXPECT_FALSE(source->read_lines(beyond, bytes.data(), row_bytes).ok()) << name;
  }
}

// A device's columns of a matrix that is stored the other way round: row after row would read the
// stack for each of them.
TEST(StridedSource, ColumnsOfManyRowsAreReadOnce) {
  constexpr int64_t kRows = 64;
  constexpr int64_t kColumns = 48;
  const StridedLayout layout{.element_bytes = 2,
                             .stacks = 2,
                             .rows = kRows,
                             .columns = kColumns,
                             .stack_stride = kRows * kColumns,
                             .row_stride = 1,
                             .column_stride = kRows,
                             .offset = kBefore};
  ASSERT_TRUE(layout.is_transposed());
  const auto count = std::make_shared<ReadCount>();
  const auto source = strided_source(counting_source(2 * 2 * kRows * kColumns, count), layout);
  Bytes bytes(2 * kRows * kColumns);
  const ByteLines half{.offset = kColumns,
                       .step = 2 * kColumns,
                       .bytes = kColumns,
                       .count = static_cast<size_t>(2 * kRows)};
  ASSERT_TRUE(source->read_lines(half, bytes.data(), kColumns).ok());
  EXPECT_EQ(count->bytes.load(), bytes.size());
  EXPECT_EQ(count->reads.load(), static_cast<uint64_t>(2 * kColumns / 2));  // a column of a stack
  // Every other row is read with the rows between, whole.
  count->bytes = 0;
  const ByteLines others{.offset = 0,
                         .step = 4 * kColumns,
                         .bytes = 2 * kColumns,
                         .count = static_cast<size_t>(kRows)};
  ASSERT_TRUE(source->read_lines(others, bytes.data(), 2 * kColumns).ok());
  EXPECT_LE(count->bytes.load(), 2 * bytes.size());
}

}  // namespace
}  // namespace dunlin

// WeightView::read_rows gives canonical order for matrices and vectors, whatever the stored order.
#include "formats/weight_view.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <span>
#include <vector>

namespace dunlin {
namespace {

// A source of float32 0, 1, 2, ...: the value of an element is its stored index.
std::shared_ptr<const ByteSource> counting_source(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  std::vector<std::byte> bytes(count * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return memory_source(std::move(bytes), "counting");
}

WeightView view_of(int64_t rows, int64_t columns, uint64_t offset, RowMap map) {
  return {"w", Format::f32, rows, columns, counting_source(256), offset, map};
}

std::vector<float> read(const WeightView& view, int64_t first, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count * view.columns));
  EXPECT_TRUE(view.read_rows(first, count, std::as_writable_bytes(std::span(values))).ok());
  return values;
}

TEST(WeightView, IdentityReadsFromTheOffset) {
  EXPECT_EQ(read(view_of(4, 3, 8, {}), 1, 2), (std::vector<float>{5, 6, 7, 8, 9, 10}));
}

TEST(WeightView, StrideAndOffsetPickInterleavedRows) {
  EXPECT_EQ(read(view_of(3, 2, 0, {.offset = 1, .stride = 2}), 0, 3),
            (std::vector<float>{2, 3, 6, 7, 10, 11}));
}

// Stored heads of 4 rows are (0, 2, 1, 3) in canonical numbers: canonical 0 1 2 3 lie at stored 0 2
// 1 3.
TEST(WeightView, RopeRowsOfAMatrixAreUnpermuted) {
  const WeightView view = view_of(8, 1, 0, {.rope_head_dim = 4});
  EXPECT_EQ(read(view, 0, 8), (std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(read(view, 5, 2), (std::vector<float>{6, 5}));
}

TEST(WeightView, RopeElementsOfAVectorAreUnpermuted) {
  EXPECT_EQ(read(view_of(1, 12, 4, {.rope_head_dim = 6}), 0, 1),
            (std::vector<float>{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12}));
}

// A matrix of one row is none of the vectors whose elements are permuted.
TEST(WeightView, OneRowOfTwoInTurn) {
  EXPECT_EQ(read(view_of(1, 3, 0, {.offset = 1, .stride = 2}), 0, 1),
            (std::vector<float>{3, 4, 5}));
}

TEST(WeightView, RowsInTurnAreOneWeight) {
  const WeightView even = view_of(3, 2, 8, {.offset = 0, .stride = 2});
  WeightView odd = even;
  odd.row_map.offset = 1;
  const auto both = rows_in_turn(even, odd);
  ASSERT_TRUE(both.has_value());
  EXPECT_EQ(both->rows, 6);
  EXPECT_TRUE(both->row_map.identity());
  const std::vector<float> rows = read(*both, 0, 5);
  EXPECT_EQ(rows, (std::vector<float>{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  std::vector<float> evens(6);
  std::vector<float> odds(4);
  part_rows(std::as_bytes(std::span(rows)).data(), 5, 8,
            std::as_writable_bytes(std::span(evens)).data(),
            std::as_writable_bytes(std::span(odds)).data());
  EXPECT_EQ(evens, read(even, 0, 3));
  EXPECT_EQ(odds, read(odd, 0, 2));

  EXPECT_FALSE(rows_in_turn(odd, even).has_value());
  EXPECT_FALSE(rows_in_turn(even, even).has_value());
  WeightView other = odd;
  other.source = counting_source(256);
  EXPECT_FALSE(rows_in_turn(even, other).has_value());
  other = odd;
  other.offset = 0;
  EXPECT_FALSE(rows_in_turn(even, other).has_value());
  other = odd;
  other.rows = 2;
  EXPECT_FALSE(rows_in_turn(even, other).has_value());
}

TEST(WeightView, PairsAreFoundAmongOtherWeights) {
  const WeightView plain = view_of(4, 2, 0, {});
  const WeightView even = view_of(2, 2, 0, {.offset = 0, .stride = 2});
  WeightView odd = even;
  odd.row_map.offset = 1;
  // Another tensor of the same file.
  WeightView next_even = even;
  WeightView next_odd = odd;
  next_even.offset = next_odd.offset = 64;
  const std::vector<WeightView> views = {odd, plain, next_even, even, next_odd};
  const auto pairs = row_pairs(views);
  ASSERT_EQ(pairs.size(), 5u);
  EXPECT_FALSE(pairs[1].has_value());
  for (const size_t i : {size_t{0}, size_t{3}}) {
    ASSERT_TRUE(pairs[i].has_value());
    EXPECT_EQ(pairs[i]->even, 3u);
    EXPECT_EQ(pairs[i]->odd, 0u);
  }
  for (const size_t i : {size_t{2}, size_t{4}}) {
    ASSERT_TRUE(pairs[i].has_value());
    EXPECT_EQ(pairs[i]->even, 2u);
    EXPECT_EQ(pairs[i]->odd, 4u);
  }
}

TEST(WeightView, NoRowsNeedNoBytes) {
  EXPECT_TRUE(read(view_of(4, 3, 1 << 20, {}), 4, 0).empty());
}

TEST(WeightView, AnErrorOfTheSourceIsHandedOn) {
  std::vector<float> values(3);
  const auto result =
      view_of(400, 3, 0, {}).read_rows(399, 1, std::as_writable_bytes(std::span(values)));
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("counting"), std::string::npos);
}

}  // namespace
}  // namespace dunlin

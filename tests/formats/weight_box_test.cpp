// Boxes of weights: the rows and columns asked for, in canonical order, and nothing else is read.
#include "formats/weight_box.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "base/counted_source.h"

namespace dunlin {
namespace {

using Values = std::vector<float>;

// Float32 0, 1, 2, ...: the value of an element is its stored index.
std::shared_ptr<const ByteSource> counting_source(size_t count) {
  Values values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  std::vector<std::byte> bytes(count * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return memory_source(std::move(bytes), "counting");
}

struct Counted {
  std::shared_ptr<ReadCount> count = std::make_shared<ReadCount>();
  WeightView view;

  Counted(int64_t rows, int64_t columns, RowMap map, size_t elements = 4096)
      : view{"w",
             Format::f32,
             rows,
             columns,
             std::make_shared<CountedSource>(counting_source(elements), count),
             0,
             map} {}
};

std::vector<std::byte> bytes_of(const WeightView& view, const WeightBox& box) {
  std::vector<std::byte> bytes;
  const auto read = read_box(view, box, [&](std::span<const std::byte> piece) -> Result<void> {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return {};
  });
  EXPECT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(bytes.size(), box_bytes(view, box));
  return bytes;
}

Values values_of(const WeightView& view, const WeightBox& box) {
  const std::vector<std::byte> bytes = bytes_of(view, box);
  Values values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(WeightBox, RowsAndColumnsComeWithZerosBetween) {
  const Counted weight(6, 4, {});
  const WeightBox box{.rows = {.extent = 4, .runs = {{0, 1, 2}, {3, 5, 1}}},
                      .columns = {.extent = 3, .runs = {{0, 0, 1}, {2, 3, 1}}}};
  EXPECT_EQ(values_of(weight.view, box), (Values{4, 0, 7, 8, 0, 11, 0, 0, 0, 20, 0, 23}));
  EXPECT_EQ(weight.count->bytes.load(), stored_bytes(weight.view, box));
  EXPECT_EQ(stored_bytes(weight.view, box), 24u);
}

TEST(WeightBox, WholeRowsSideBySideAreReadAtOnce) {
  const Counted weight(8, 4, {});
  const WeightBox box{.rows = {.extent = 5, .runs = {{0, 2, 5}}}, .columns = IndexRuns::all(4)};
  Values expected(20);
  std::iota(expected.begin(), expected.end(), 8.0f);
  EXPECT_EQ(values_of(weight.view, box), expected);
  EXPECT_EQ(weight.count->reads.load(), 1u);
}

// Heads of 4 rows lie as 0, 2, 1, 3: the same four rows, so one read.
TEST(WeightBox, PermutedRowsOfAHeadAreReadAtOnce) {
  const Counted weight(12, 1, {.rope_head_dim = 4});
  const WeightBox box{.rows = {.extent = 4, .runs = {{0, 4, 4}}}, .columns = IndexRuns::all(1)};
  EXPECT_EQ(values_of(weight.view, box), (Values{4, 6, 5, 7}));
  EXPECT_EQ(weight.count->reads.load(), 1u);
  EXPECT_EQ(weight.count->bytes.load(), 16u);
}

TEST(WeightBox, InterleavedRowsAreReadAlone) {
  const Counted weight(3, 2, {.offset = 1, .stride = 2});
  const WeightBox box{.rows = {.extent = 2, .runs = {{0, 1, 2}}}, .columns = IndexRuns::all(2)};
  EXPECT_EQ(values_of(weight.view, box), (Values{6, 7, 10, 11}));
  EXPECT_EQ(weight.count->bytes.load(), 16u);
}

TEST(WeightBox, ElementsOfAMappedVectorAreReadAlone) {
  const Counted weight(1, 12, {.rope_head_dim = 6});
  const WeightBox box{.rows = IndexRuns::all(1), .columns = {.extent = 6, .runs = {{0, 6, 6}}}};
  EXPECT_EQ(values_of(weight.view, box), (Values{6, 8, 10, 7, 9, 11}));
  EXPECT_EQ(weight.count->bytes.load(), 24u);
}

TEST(WeightBox, AnEmptyShareIsZeros) {
  const Counted weight(4, 4, {});
  const WeightBox box{.rows = {.extent = 2, .runs = {}}, .columns = IndexRuns::all(4)};
  EXPECT_EQ(values_of(weight.view, box), Values(8));
  EXPECT_EQ(weight.count->reads.load(), 0u);
}

// More than one piece of 4 MiB, whose border lies within the box; heads stay whole.
TEST(WeightBox, LargeBoxesComeInPieces) {
  constexpr int64_t kColumns = 1 << 10;
  constexpr int64_t kRows = 1200;
  constexpr int64_t kHead = 48;
  const Counted weight(kRows + kHead, kColumns, {.rope_head_dim = kHead},
                       static_cast<size_t>((kRows + kHead) * kColumns));
  const WeightBox box{.rows = {.extent = kRows, .runs = {{0, kHead, kRows}}},
                      .columns = IndexRuns::all(kColumns)};
  std::vector<std::byte> expected(static_cast<size_t>(kRows) * kColumns * 4);
  ASSERT_TRUE(weight.view.read_rows(kHead, kRows, expected).ok());
  weight.count->reads = 0;
  EXPECT_TRUE(bytes_of(weight.view, box) == expected);
  EXPECT_EQ(weight.count->reads.load(), 2u);
}

TEST(WeightBox, ColumnsOfBlocksAreCountedInBlocks) {
  std::vector<std::byte> stored(3 * 4 * 34);  // three rows of four blocks of Q8_0
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::byte>(i % 251);
  const WeightView view{"w", Format::q8_0, 3, 128, memory_source(stored, "blocks"), 0, {}};
  const WeightBox box{.rows = {.extent = 1, .runs = {{0, 2, 1}}},
                      .columns = {.extent = 96, .runs = {{0, 64, 64}}}};
  std::vector<std::byte> expected(stored.begin() + (2 * 4 + 2) * 34, stored.end());
  expected.resize(3 * 34);
  EXPECT_TRUE(bytes_of(view, box) == expected);
}

// What pads a share must be zero in every format.
TEST(WeightBox, BytesOfZeroDecodeToZeroInEveryFormat) {
  for (const FormatTraits& format : all_formats()) {
    const std::vector<std::byte> zeros(static_cast<size_t>(format.block_bytes));
    Values values(static_cast<size_t>(format.block_elements), 1.0f);
    format.decode(zeros.data(), format.block_elements, values.data());
    for (const float value : values) EXPECT_EQ(value, 0.0f) << format.name;
  }
}

TEST(WeightBox, AnErrorOfSourceOrTakerEndsIt) {
  const WeightView beyond = Counted(4, 4, {}, 8).view;
  const WeightBox box{.rows = IndexRuns::all(4), .columns = IndexRuns::all(4)};
  const auto nothing = [](std::span<const std::byte>) -> Result<void> { return {}; };
  EXPECT_FALSE(read_box(beyond, box, nothing).ok());
  const auto stop = [](std::span<const std::byte>) -> Result<void> {
    return runtime_error("stop");
  };
  EXPECT_EQ(read_box(Counted(4, 4, {}).view, box, stop).error().message, "stop");
}

}  // namespace
}  // namespace dunlin

// Boxes of weights: the rows and columns asked for, in canonical order, and nothing else is read.
#include "formats/weight_box.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/counted_source.h"

namespace dunlin {
namespace {

using Values = std::vector<float>;

// Float32 0, 1, 2, ...: the value of an element is its stored index.
std::shared_ptr<const ByteSource> counted_values(size_t count) {
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
             std::make_shared<CountedSource>(counted_values(elements), count),
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

Values held_values(const WeightView& view, const WeightBox& box) {
  const auto held = hold_box(view, box, 1);
  EXPECT_TRUE(held.ok()) << held.error().message;
  if (!held.ok() || !*held) return {};
  Values values((*held)->bytes.size() / 4);
  std::memcpy(values.data(), (*held)->bytes.data(), (*held)->bytes.size());
  return values;
}

TEST(WeightBox, IsHeldWhereItLiesInOnePiece) {
  const WeightBox rows{.rows = {.extent = 2, .runs = {{0, 3, 2}}}, .columns = IndexRuns::all(4)};
  const WeightBox part_of_a_row{.rows = {.extent = 1, .runs = {{0, 3, 1}}},
                                .columns = {.extent = 2, .runs = {{0, 1, 2}}}};
  const Counted weight(8, 4, {.offset = 1});
  EXPECT_EQ(held_values(weight.view, rows), values_of(weight.view, rows));
  EXPECT_EQ(held_values(weight.view, part_of_a_row), (Values{17, 18}));
  for (const WeightBox& apart :
       {WeightBox{.rows = rows.rows, .columns = part_of_a_row.columns},
        WeightBox{.rows = {.extent = 3, .runs = {{0, 3, 2}}}, .columns = IndexRuns::all(4)},
        WeightBox{.rows = {.extent = 2, .runs = {{0, 3, 1}, {1, 5, 1}}},
                  .columns = IndexRuns::all(4)},
        WeightBox{.rows = part_of_a_row.rows,
                  .columns = {.extent = 2, .runs = {{0, 0, 1}, {1, 3, 1}}}}})
    EXPECT_EQ(held_values(weight.view, apart), Values());
}

TEST(WeightBox, IsReadWhereItIsStoredInAnotherWay) {
  const WeightBox box{.rows = {.extent = 2, .runs = {{0, 4, 2}}}, .columns = IndexRuns::all(4)};
  EXPECT_EQ(held_values(Counted(8, 4, {.stride = 2}).view, box), Values());
  EXPECT_EQ(held_values(Counted(8, 4, {.rope_head_dim = 4}).view, box), Values());
  WeightView view = Counted(8, 4, {}).view;
  EXPECT_NE(held_values(view, box), Values());
  view.columns_apart = true;
  EXPECT_EQ(held_values(view, box), Values());
  view = Counted(8, 4, {}).view;
  view.scales = std::make_shared<const WeightScales>(WeightScales{.rows = 8, .values = {1}});
  EXPECT_EQ(held_values(view, box), Values());
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

// Of an inner source it is the lines that are asked for, not row after row: one call for a run of columns.
class LinesOnly final : public ByteSource {
 public:
  explicit LinesOnly(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {}

  Result<void> read_at(uint64_t, std::span<std::byte>) const override {
    return runtime_error("a row alone");
  }
  Result<void> read_lines(const ByteLines& lines, std::byte* into,
                          size_t into_step) const override {
    ++calls;
    return source_->read_lines(lines, into, into_step);
  }
  uint64_t size() const override { return source_->size(); }
  const std::string& name() const override { return source_->name(); }

  mutable int calls = 0;

 private:
  std::shared_ptr<const ByteSource> source_;
};

TEST(WeightBox, ColumnsOfManyRowsAreLinesOfTheSource) {
  const auto source = std::make_shared<LinesOnly>(counted_values(64));
  WeightView view{"w", Format::f32, 8, 4, source, 0, {}};
  const WeightBox box{.rows = {.extent = 3, .runs = {{0, 2, 3}}},
                      .columns = {.extent = 3, .runs = {{0, 0, 1}, {1, 2, 2}}}};
  EXPECT_EQ(values_of(view, box), (Values{8, 10, 11, 12, 14, 15, 16, 18, 19}));
  EXPECT_EQ(source->calls, 2);
  // Every other row, of two.
  view.rows = 4;
  view.row_map = {.offset = 1, .stride = 2};
  WeightBox fewer = box;
  fewer.rows.runs.front().count = 2;
  EXPECT_EQ(values_of(view, fewer), (Values{20, 22, 23, 28, 30, 31, 0, 0, 0}));
}

// Pieces end within a pair of rows: the rows of one are too long for two in 4 MiB.
TEST(WeightBox, TwoWeightsInTurnAreReadOnce) {
  constexpr int64_t kRows = 5;
  for (const int64_t columns : {int64_t{6}, int64_t{700'000}}) {
    const auto count = std::make_shared<ReadCount>();
    WeightView even{"even",
                    Format::f32,
                    kRows,
                    columns,
                    std::make_shared<CountedSource>(
                        counted_values(static_cast<size_t>(2 * kRows * columns)), count),
                    0,
                    {.offset = 0, .stride = 2}};
    WeightView odd = even;
    odd.row_map.offset = 1;
    const WeightView other = Counted(2, 2, {}).view;
    // The rows have a hole between, and the columns are some or all.
    for (const bool whole : {true, false}) {
      WeightBox box{.rows = {.extent = 4, .runs = {{0, 0, 2}, {3, 4, 1}}},
                    .columns = IndexRuns::all(columns)};
      if (!whole) box.columns = {.extent = 3, .runs = {{0, 1, 1}, {1, 3, 2}}};
      const WeightBox of_other{.rows = IndexRuns::all(2), .columns = IndexRuns::all(2)};
      std::vector<std::byte> bytes[3];
      count->bytes = 0;
      const std::vector<BoxOfWeight> boxes = {{odd, box}, {other, of_other}, {even, box}};
      const auto read = read_boxes(boxes, [&](size_t i, std::span<const std::byte> piece) {
        bytes[i].insert(bytes[i].end(), piece.begin(), piece.end());
        return Result<void>();
      });
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_EQ(count->bytes.load(), 2 * stored_bytes(even, box));
      EXPECT_TRUE(bytes[0] == bytes_of(odd, box)) << columns;
      EXPECT_TRUE(bytes[1] == bytes_of(other, of_other));
      EXPECT_TRUE(bytes[2] == bytes_of(even, box)) << columns;
      // Of other boxes each is read by itself.
      WeightBox smaller = box;
      smaller.rows.runs.pop_back();
      bytes[0].clear();
      bytes[2].clear();
      const std::vector<BoxOfWeight> differ = {{odd, box}, {other, of_other}, {even, smaller}};
      ASSERT_TRUE(read_boxes(differ, [&](size_t i, std::span<const std::byte> piece) {
                    bytes[i].insert(bytes[i].end(), piece.begin(), piece.end());
                    return Result<void>();
                  }).ok());
      EXPECT_TRUE(bytes[0] == bytes_of(odd, box));
      EXPECT_TRUE(bytes[2] == bytes_of(even, smaller));
    }
  }
}

TEST(WeightBox, AnErrorOfEitherTakerEndsBoth) {
  WeightView even = Counted(3, 2, {.offset = 0, .stride = 2}).view;
  WeightView odd = even;
  odd.row_map.offset = 1;
  const WeightBox box{.rows = IndexRuns::all(3), .columns = IndexRuns::all(2)};
  for (const size_t failing : {size_t{0}, size_t{1}}) {
    const std::vector<BoxOfWeight> boxes = {{even, box}, {odd, box}};
    const auto read = read_boxes(boxes, [&](size_t i, std::span<const std::byte>) -> Result<void> {
      return i == failing ? Result<void>(runtime_error("stop")) : Result<void>();
    });
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().message, "stop");
  }
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

constexpr int64_t kScaledRows = 5;
constexpr int64_t kScaledColumns = 6;

// One weight in E4M3, with its scales in memory and with them before each row of the source.
struct Scaled {
  std::shared_ptr<ReadCount> count = std::make_shared<ReadCount>();
  WeightView beside, before;
  Values values;  // all of them
};

// A scale for so many rows and columns; no two elements of a block are the same number.
Scaled scaled(int64_t scale_rows, int64_t scale_columns) {
  Scaled weight;
  std::vector<std::byte> elements;
  for (int64_t i = 0; i < kScaledRows * kScaledColumns; ++i)
    elements.push_back(static_cast<std::byte>(0x30 + i));
  const auto scales = std::make_shared<WeightScales>();
  scales->rows = scale_rows;
  scales->per_row = (kScaledColumns + scale_columns - 1) / scale_columns;
  const int64_t blocks = (kScaledRows + scale_rows - 1) / scale_rows;
  for (int64_t i = 0; i < blocks * scales->per_row; ++i)
    scales->values.push_back(0.5f + static_cast<float>(i));
  WeightView& view = weight.beside;
  view.name = "w";
  view.format = Format::f8_e4m3;
  view.rows = kScaledRows;
  view.columns = kScaledColumns;
  view.source = std::make_shared<CountedSource>(memory_source(elements, "elements"), weight.count);
  view.scale_columns = scale_columns;
  view.scales = scales;
  std::vector<std::byte> rows(static_cast<size_t>(kScaledRows * view.bytes_per_row()));
  EXPECT_TRUE(view.read_rows(0, kScaledRows, rows).ok());
  weight.values.resize(elements.size());
  view.row_form().decode(rows.data(), kScaledRows, weight.values.data());
  weight.before = view;
  weight.before.scales = nullptr;
  weight.before.source =
      std::make_shared<CountedSource>(memory_source(std::move(rows), "rows"), weight.count);
  return weight;
}

// The box has the values of its rows and columns and zeros elsewhere.
void expect_values(const Scaled& weight, const WeightView& view, const WeightBox& box) {
  Values expected(static_cast<size_t>(box.rows.extent * box.columns.extent), 0.0f);
  for (const IndexRun& rows : box.rows.runs) {
    for (const IndexRun& columns : box.columns.runs) {
      for (int64_t r = 0; r < rows.count; ++r) {
        for (int64_t c = 0; c < columns.count; ++c) {
          const int64_t to = (rows.at + r) * box.columns.extent + columns.at + c;
          const int64_t from = (rows.begin + r) * kScaledColumns + columns.begin + c;
          expected[static_cast<size_t>(to)] = weight.values[static_cast<size_t>(from)];
        }
      }
    }
  }
  weight.count->bytes = 0;
  const std::vector<std::byte> bytes = bytes_of(view, box);
  Values values(expected.size());
  ASSERT_EQ(bytes.size(), static_cast<size_t>(box.rows.extent * box_form(view, box).bytes()));
  box_form(view, box).decode(bytes.data(), box.rows.extent, values.data());
  EXPECT_EQ(values, expected);
}

TEST(WeightBox, ScalesComeWithTheirRowsAndColumns) {
  const IndexRuns some_rows = {.extent = 4, .runs = {{0, 1, 1}, {2, 3, 2}}};
  const IndexRuns columns[] = {IndexRuns::all(kScaledColumns),
                               {.extent = 2, .runs = {{0, 0, 2}}},
                               {.extent = 4, .runs = {{0, 2, 2}, {2, 4, 2}}},
                               {.extent = 6, .runs = {{0, 0, 2}, {4, 4, 2}}},
                               {.extent = 2, .runs = {}}};
  // Of a row, of the tensor, of blocks that divide the rows and of such that do not.
  const std::pair<int64_t, int64_t> blocks[] = {{1, 6}, {kScaledRows, 6}, {1, 2}, {2, 2}};
  for (const auto& [scale_rows, scale_columns] : blocks) {
    const Scaled weight = scaled(scale_rows, scale_columns);
    for (const IndexRuns& rows : {IndexRuns::all(kScaledRows), some_rows}) {
      for (const IndexRuns& some : columns) {
        const WeightBox box{.rows = rows, .columns = some};
        expect_values(weight, weight.beside, box);
        EXPECT_EQ(weight.count->bytes.load(), static_cast<uint64_t>(rows.count() * some.count()));
        expect_values(weight, weight.before, box);
        EXPECT_EQ(weight.count->bytes.load(), stored_bytes(weight.before, box));
        EXPECT_TRUE(bytes_of(weight.beside, box) == bytes_of(weight.before, box));
      }
    }
  }
}

// Six columns in blocks of four: the second one has two.
TEST(WeightBox, TheLastBlockOfScalesMayBeShort) {
  const Scaled weight = scaled(3, 4);
  for (const IndexRuns& columns :
       {IndexRuns{.extent = 4, .runs = {{0, 0, 4}}}, IndexRuns{.extent = 4, .runs = {{0, 4, 2}}}}) {
    const WeightBox box{.rows = IndexRuns::all(kScaledRows), .columns = columns};
    expect_values(weight, weight.beside, box);
    expect_values(weight, weight.before, box);
    EXPECT_EQ(box_form(weight.beside, box).scales(), 1);
  }
  const RowForm form = weight.beside.row_form();
  EXPECT_FALSE(column_bytes(form, {.extent = 2, .runs = {{0, 0, 2}}}).has_value());
  EXPECT_FALSE(column_bytes(form, {.extent = 2, .runs = {{0, 2, 2}}}).has_value());
  EXPECT_FALSE(column_bytes(form, {.extent = 8, .runs = {{2, 4, 2}}}).has_value());
}

TEST(WeightBox, AScaleIsStoredOnceForItsRows) {
  const Scaled weight = scaled(2, 2);  // rows 0 and 1, 2 and 3, 4
  const WeightBox box{.rows = {.extent = 3, .runs = {{0, 1, 2}, {2, 3, 1}}},
                      .columns = {.extent = 4, .runs = {{0, 2, 4}}}};
  EXPECT_EQ(stored_bytes(weight.beside, box), 3u * 4 + 2 * 2 * 4);  // two blocks of rows
  EXPECT_EQ(stored_bytes(weight.before, box), 3u * (4 + 2 * 4));
  EXPECT_EQ(box_bytes(weight.beside, box), 3u * (4 + 2 * 4));
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

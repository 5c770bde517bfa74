// Rows with scales beside their elements: decoding, encoding, and how a WeightView brings both
// together.
#include "formats/row_form.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "formats/weight_view.h"

namespace dunlin {
namespace {

std::vector<std::byte> bytes_of(const std::vector<int>& values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

std::vector<std::byte> row_of(const std::vector<float>& scales,
                              const std::vector<std::byte>& elements) {
  std::vector<std::byte> row(scales.size() * 4);
  std::memcpy(row.data(), scales.data(), row.size());
  row.insert(row.end(), elements.begin(), elements.end());
  return row;
}

std::vector<float> decoded(const RowForm& form, const std::vector<std::byte>& rows) {
  const auto count = static_cast<int64_t>(rows.size()) / form.bytes();
  std::vector<float> values(static_cast<size_t>(count * form.columns));
  form.decode(rows.data(), count, values.data());
  return values;
}

TEST(RowForm, BlocksHaveNothingBesideThem) {
  const RowForm form = {&traits(Format::q4_0), 64};
  EXPECT_EQ(form.scales(), 0);
  EXPECT_EQ(form.bytes(), 36);
}

// 0x38 is 1, 0x40 2, 0xb8 -1 in E4M3.
TEST(RowForm, AScaleServesItsColumnsAndTheLastBlockMayBeShort) {
  const RowForm form = {&traits(Format::f8_e4m3), 5, 2};
  EXPECT_EQ(form.scales(), 3);
  EXPECT_EQ(form.bytes(), 17);
  const auto elements = bytes_of({0x38, 0x40, 0x38, 0xb8, 0x40});
  auto rows = row_of({1.0f, 10.0f, 0.1f}, elements);
  const auto second = row_of({2.0f, 3.0f, 4.0f}, elements);
  rows.insert(rows.end(), second.begin(), second.end());
  EXPECT_EQ(decoded(form, rows), (std::vector<float>{1, 2, 10, -10, 0.1f * 2.0f,  //
                                                     2, 4, 3, -3, 8}));
}

TEST(RowForm, GroupsOfIntegersGetTheScaleOfTheirRow) {
  const RowForm form = {&traits(Format::i8), 64, 64};
  std::vector<int> codes(64);
  std::iota(codes.begin(), codes.end(), -40);
  const auto row = row_of({0.25f}, bytes_of(codes));
  std::vector<int8_t> read(64);
  std::vector<float> scales(2);
  form.decode_groups(row.data(), read.data(), scales.data(), nullptr);
  EXPECT_EQ(std::vector<int>(read.begin(), read.end()), codes);
  EXPECT_EQ(scales, (std::vector<float>{0.25f, 0.25f}));
  const auto values = decoded(form, row);
  for (size_t k = 0; k < 64; ++k) EXPECT_EQ(values[k], 0.25f * static_cast<float>(codes[k]));
}

TEST(RowForm, TheLargestValueOfABlockGetsTheLargestNumber) {
  const RowForm form = {&traits(Format::i8), 64, 32};
  std::vector<float> values(128, 0.0f);  // two rows that share their scales
  values[3] = 1.27f;
  values[64 + 5] = -2.54f;
  std::vector<float> scales(2);
  form.find_scales(values.data(), 2, scales.data());
  EXPECT_EQ(scales[0], 2.54f / 127.0f);
  EXPECT_EQ(scales[1], 1.0f);  // nothing but zeros
  std::vector<std::byte> row(static_cast<size_t>(form.bytes()));
  form.encode(values.data() + 64, scales.data(), row.data());
  EXPECT_EQ(static_cast<int8_t>(row[8 + 5]), -127);
  form.encode(values.data(), scales.data(), row.data());
  EXPECT_EQ(static_cast<int8_t>(row[8 + 3]), 64);  // 63.5: to even
}

TEST(RowForm, ScalesAreNeverDenormal) {
  const RowForm form = {&traits(Format::f8_e4m3), 2, 2};
  const float values[] = {1e-44f, 0.0f};
  float scale = 0.0f;
  form.find_scales(values, 1, &scale);
  EXPECT_TRUE(std::isnormal(scale));
}

// What a wide row gives is what its pieces give.
TEST(RowForm, LongRowsEncodeAsShortOnesDo) {
  const RowForm form = {&traits(Format::f8_e5m2), 1000, 300};
  std::vector<float> values(1000);
  for (size_t k = 0; k < values.size(); ++k)
    values[k] = std::sin(static_cast<float>(k * k)) * static_cast<float>(1 + k % 7);
  std::vector<float> scales(4);
  form.find_scales(values.data(), 1, scales.data());
  std::vector<std::byte> row(static_cast<size_t>(form.bytes()));
  form.encode(values.data(), scales.data(), row.data());
  for (size_t k = 0; k < values.size(); ++k) {
    const float scaled = values[k] / scales[k / 300];
    std::byte code;
    traits(Format::f8_e5m2).encode(&scaled, 1, nullptr, &code);
    ASSERT_EQ(row[16 + k], code) << k;
  }
}

// Elements 0 .. 23 of six rows; a scale for two rows and three columns.
WeightView scaled_view() {
  std::vector<std::byte> stored(8 + 24);
  for (size_t i = 0; i < 24; ++i) stored[8 + i] = static_cast<std::byte>(i);
  WeightView view{"w", Format::f8_e4m3, 6, 4, memory_source(std::move(stored), "file"), 8, {}};
  view.scale_columns = 3;
  auto scales = std::make_shared<WeightScales>();
  scales->rows = 2;
  scales->per_row = 2;
  scales->values = {1, 2, 3, 4, 5, 6};
  view.scales = scales;
  return view;
}

TEST(RowForm, AViewReadsScalesBeforeElements) {
  const WeightView view = scaled_view();
  EXPECT_EQ(view.bytes_per_row(), 12);
  EXPECT_EQ(view.stored_bytes(), 24u + 24u);
  std::vector<std::byte> expected;
  const auto append = [&](const std::vector<std::byte>& row) {
    expected.insert(expected.end(), row.begin(), row.end());
  };
  append(row_of({1, 2}, bytes_of({4, 5, 6, 7})));
  append(row_of({3, 4}, bytes_of({8, 9, 10, 11})));
  append(row_of({3, 4}, bytes_of({12, 13, 14, 15})));
  append(row_of({5, 6}, bytes_of({16, 17, 18, 19})));
  std::vector<std::byte> read(4 * 12);
  ASSERT_TRUE(view.read_rows(1, 4, read).ok());
  EXPECT_TRUE(read == expected);
}

TEST(RowForm, AViewOfReorderedRowsTakesTheScalesOfTheStoredOnes) {
  WeightView view = scaled_view();
  view.rows = 3;
  view.row_map = {.offset = 1, .stride = 2};
  std::vector<std::byte> read(12);
  ASSERT_TRUE(view.read_rows(2, 1, read).ok());
  EXPECT_TRUE(read == row_of({5, 6}, bytes_of({20, 21, 22, 23})));
}

}  // namespace
}  // namespace dunlin

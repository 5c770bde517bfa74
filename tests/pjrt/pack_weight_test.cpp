// Rows of files as arrays of devices, bit for bit against the formats' decoders.
#include "backend/pjrt/pack_weight.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "packed_weights.h"

namespace dunlin::pjrt {
namespace {

// More outputs than a block of rows has, so that blocks end within a matrix and matrices within a block.
constexpr int64_t kMatrices = 3;
constexpr int64_t kOutputs = 70;
constexpr int64_t kColumns = 512;

HostArrays packed(const WeightView& view, const WeightBox& box, const DeviceForm& form,
                  int64_t matrices, int threads) {
  const auto pool = ThreadPool::create(threads);
  EXPECT_TRUE(pool.ok());
  auto arrays = read_packed(view, box, form, matrices, **pool);
  EXPECT_TRUE(arrays.ok()) << arrays.error().message;
  return std::move(arrays).value();
}

std::vector<DeviceForm> forms_of(Format format) {
  std::vector<DeviceForm> forms = {matrix_form(format, Precision::automatic, Platform::tpu),
                                   matrix_form(format, Precision::automatic, Platform::cpu),
                                   table_form(format)};
  const DeviceForm on_gpu = matrix_form(format, Precision::automatic, Platform::gpu);
  if (on_gpu.kind != DeviceForm::Kind::values) forms.push_back(on_gpu);
  return forms;
}

TEST(PackWeight, ArraysHoldTheValuesOfTheFormat) {
  for (const Format format : packed_formats()) {
    const WeightView view = random_weight(format, kMatrices * kOutputs, kColumns);
    const WeightBox whole{IndexRuns::all(view.rows), IndexRuns::all(view.columns)};
    const std::vector<float> expected = decoded(view);
    for (const DeviceForm& form : forms_of(format)) {
      const int64_t matrices = form.kind == DeviceForm::Kind::rows ? 1 : kMatrices;
      const HostArrays arrays = packed(view, whole, form, matrices, 1);
      ASSERT_EQ(arrays.size(), form.minimums ? 3u : 2u);
      EXPECT_TRUE(values_of(arrays, form, matrices, view.rows / matrices, kColumns) == expected)
          << traits(format).name << " as " << to_string(form);
      EXPECT_TRUE(packed(view, whole, form, matrices, 3) == arrays) << traits(format).name;
    }
  }
}

// What an array of four bits takes is in the low half of a byte, with the sign of the whole byte.
TEST(PackWeight, CodesFitTheirType) {
  for (const Format format : packed_formats()) {
    const DeviceForm form = matrix_form(format, Precision::automatic, Platform::tpu);
    const WeightView view = random_weight(format, kOutputs, kColumns);
    const WeightBox whole{IndexRuns::all(view.rows), IndexRuns::all(view.columns)};
    const HostArrays arrays = packed(view, whole, form, 1, 1);
    for (const std::byte byte : arrays.front()) {
      const auto code = static_cast<int>(static_cast<int8_t>(byte));
      if (form.code == CodeType::i4) {
        ASSERT_TRUE(code >= -8 && code <= 7) << traits(format).name << ": " << code;
      }
      if (form.code == CodeType::u4 || form.code == CodeType::f4) {
        ASSERT_TRUE(code >= 0 && code <= 15) << traits(format).name << ": " << code;
      }
    }
  }
}

// A share of a mesh: the second half of the columns, the last rows first and then two of zeros.
TEST(PackWeight, SharesHoldTheirPartAndZeros) {
  for (const Format format :
       {Format::q4_0, Format::q4_1, Format::q8_0, Format::i8, Format::mxfp4}) {
    const WeightView view = random_weight(format, kOutputs, kColumns);
    const std::vector<float> whole = decoded(view);
    WeightBox share;
    share.rows = {.extent = 12, .runs = {{.at = 0, .begin = 60, .count = 10}}};
    share.columns = {.extent = 288, .runs = {{.at = 0, .begin = 256, .count = 256}}};
    for (const DeviceForm& form : forms_of(format)) {
      const HostArrays arrays = packed(view, share, form, 1, 2);
      const std::vector<float> values = values_of(arrays, form, 1, 12, 288);
      for (int64_t row = 0; row < 12; ++row) {
        for (int64_t column = 0; column < 288; ++column) {
          const bool there = row < 10 && column < 256;
          const float expected =
              there ? whole[static_cast<size_t>((60 + row) * kColumns + 256 + column)] : 0.0f;
          ASSERT_EQ(values[static_cast<size_t>(row * 288 + column)], expected)
              << traits(format).name << " as " << to_string(form) << ", " << row << ", " << column;
        }
      }
    }
  }
}

}  // namespace
}  // namespace dunlin::pjrt

// The table of formats, and encoders on values that gguf's own encoder leaves undefined.
#include "formats/format.h"
#include "formats/row_form.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace dunlin {
namespace {

TEST(Format, TableAnswersForItsOwnNamesAndTypes) {
  for (const FormatTraits& row : all_formats()) {
    EXPECT_EQ(traits(row.format).name, row.name);
    if (row.ggml_type) {
      EXPECT_EQ(format_from_ggml_type(*row.ggml_type), row.format);
    }
    EXPECT_EQ(row.ggml_type.has_value(), row.largest == 0.0f) << row.name;
    EXPECT_EQ(parse_format(row.name), row.format);
    EXPECT_EQ(row.code_group() == 0, row.decode_groups == nullptr) << row.name;
    EXPECT_EQ(row.code_group(), row.format == Format::mxfp4 ? 32 : row.group) << row.name;
    EXPECT_EQ(row.group == 0, row.bits == 0) << row.name;
    EXPECT_EQ(row.group > 0 && row.block_elements > row.group, row.decode_factors != nullptr)
        << row.name;
    EXPECT_NE(row.encode, nullptr) << row.name;
  }
  EXPECT_EQ(parse_format("q4_k"), Format::q4_k);
  EXPECT_EQ(parse_format("q4_k_m"), std::nullopt);
  EXPECT_EQ(parse_format(""), std::nullopt);
  EXPECT_EQ(format_from_ggml_type(4), std::nullopt);
  EXPECT_EQ(format_from_ggml_type(0xffffffffu), std::nullopt);
}

TEST(Format, RowBytesCountWholeBlocks) {
  EXPECT_EQ(row_bytes(traits(Format::q4_0), 64), 36);
  EXPECT_EQ(row_bytes(traits(Format::q6_k), 512), 420);
  EXPECT_EQ(row_bytes(traits(Format::bf16), 3), 6);
}

std::vector<float> round_trip(const FormatTraits& row, const std::vector<float>& values,
                              const float* importance = nullptr) {
  const auto elements = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(row, elements)));
  row.encode(values.data(), elements, importance, blocks.data());
  std::vector<float> decoded(values.size());
  row.decode(blocks.data(), elements, decoded.data());
  return decoded;
}

// Rows of 4096 with a scale each.
std::vector<float> scaled_round_trip(const FormatTraits& row, const std::vector<float>& values) {
  const RowForm form = {&row, 4096, 4096};
  std::vector<std::byte> encoded(static_cast<size_t>(form.bytes()));
  std::vector<float> decoded(values.size());
  for (size_t first = 0; first < values.size(); first += 4096) {
    float scale = 0.0f;
    form.find_scales(values.data() + first, 1, &scale);
    form.encode(values.data() + first, &scale, encoded.data());
    form.decode(encoded.data(), 1, decoded.data() + first);
  }
  return decoded;
}

// Root mean square of the error over N(0, 1) values.
double normal_error(const FormatTraits& row) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(1 << 16);
  for (float& value : values) value = normal(random);
  const std::vector<float> decoded =
      row.largest > 0.0f ? scaled_round_trip(row, values) : round_trip(row, values);
  double sum = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(decoded[i]) - static_cast<double>(values[i]);
    sum += difference * difference;
  }
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// The figures of docs/formats.md. A search that finds less than it did shows here.
TEST(Format, ErrorOnNormalValuesIsTheListedOne) {
  const std::pair<Format, double> listed[] = {
      {Format::f32, 0.0},        {Format::f16, 0.000209}, {Format::bf16, 0.00166},
      {Format::q4_0, 0.0827},    {Format::q4_1, 0.0731},  {Format::q5_0, 0.0408},
      {Format::q5_1, 0.0358},    {Format::q8_0, 0.00535}, {Format::q2_k, 0.266},
      {Format::q3_k, 0.148},     {Format::q4_k, 0.0714},  {Format::q5_k, 0.0351},
      {Format::q6_k, 0.0170},    {Format::mxfp4, 0.1115}, {Format::i8, 0.00873},
      {Format::f8_e4m3, 0.0265}, {Format::f8_e5m2, 0.053}};
  ASSERT_EQ(std::size(listed), all_formats().size());
  for (const auto& [format, error] : listed) {
    EXPECT_NEAR(normal_error(traits(format)), error, 0.01 * error) << traits(format).name;
  }
}

std::vector<float> mixed_values(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(4096);
  for (float& value : values) value = 0.02f * normal(random);
  for (size_t i = 0; i < values.size(); i += 97) values[i] *= 6.0f;
  return values;
}

double weighted_error(const std::vector<float>& left, const std::vector<float>& right,
                      const std::vector<float>& importance) {
  double sum = 0.0;
  for (size_t k = 0; k < left.size(); ++k) {
    const double difference = static_cast<double>(left[k]) - static_cast<double>(right[k]);
    sum += static_cast<double>(importance[k]) * difference * difference;
  }
  return sum;
}

TEST(Format, ImportanceLowersTheErrorWhereItIsHigh) {
  const std::vector<float> values = mixed_values(7);
  std::vector<float> importance(values.size());
  for (size_t k = 0; k < values.size(); ++k) importance[k] = k % 8 == 0 ? 50.0f : 0.5f;
  for (const FormatTraits& row : all_formats()) {
    const bool looks = row.block_elements > 1 && row.largest == 0.0f;
    if (!looks || row.format == Format::q8_0) continue;
    const double plain = weighted_error(round_trip(row, values), values, importance);
    const double weighted =
        weighted_error(round_trip(row, values, importance.data()), values, importance);
    EXPECT_LT(weighted, 0.95 * plain) << row.name;
  }
}

TEST(Format, ScaledImportanceChangesNothingAndZeroCountsAsEqual) {
  const std::vector<float> values = mixed_values(8);
  const std::vector<float> zeros(values.size(), 0.0f);
  const std::vector<float> fours(values.size(), 4.0f);
  const std::vector<float> ones(values.size(), 1.0f);
  for (const FormatTraits& row : all_formats()) {
    const std::vector<float> plain = round_trip(row, values);
    EXPECT_EQ(round_trip(row, values, ones.data()), plain) << row.name;
    EXPECT_EQ(round_trip(row, values, fours.data()), plain) << row.name;
    EXPECT_EQ(round_trip(row, values, zeros.data()), plain) << row.name;
  }
}

// A block of values that the format holds is a fixed point, up to the last bits of its F16 scales.
TEST(Format, HeldValuesComeBack) {
  for (const FormatTraits& row : all_formats()) {
    const std::vector<float> held = round_trip(row, mixed_values(9));
    const std::vector<float> again = round_trip(row, held);
    double error = 0.0;
    double power = 0.0;
    for (size_t k = 0; k < held.size(); ++k) {
      error += std::pow(static_cast<double>(again[k]) - static_cast<double>(held[k]), 2);
      power += std::pow(static_cast<double>(held[k]), 2);
    }
    EXPECT_LE(error, 1e-3 * power) << row.name;
  }
}

TEST(Format, EncodersAcceptNonFiniteTinyAndHugeValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const FormatTraits& row : all_formats()) {
    if (row.is_plain()) continue;
    std::vector<float> values(256, 0.5f);
    for (const float odd : {infinity, -infinity, nan, -nan}) {
      values[3] = odd;
      round_trip(row, values);  // the sanitizers see an undefined conversion
    }
    const float tiny = std::numeric_limits<float>::denorm_min();
    for (const float value : round_trip(row, std::vector<float>(256, tiny)))
      EXPECT_EQ(value, 0.0f) << row.name;
    for (const float value : round_trip(row, std::vector<float>(256, -0.0f)))
      EXPECT_EQ(value, 0.0f) << row.name;
    if (row.largest > 0.0f) {
      EXPECT_EQ(round_trip(row, std::vector<float>(256, 1e9f)),
                std::vector<float>(256, row.largest));
      continue;
    }
    if (row.format == Format::q8_0) continue;  // as ggml: an infinite scale
    for (const float value : round_trip(row, std::vector<float>(256, 1e9f)))
      EXPECT_TRUE(std::isfinite(value) && value > 6e4f) << row.name << " " << value;
  }
}

}  // namespace
}  // namespace dunlin

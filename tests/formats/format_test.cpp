// The table of formats, and encoders on values that gguf's own encoder leaves undefined.
#include "formats/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace dunlin {
namespace {

TEST(Format, TableAnswersForItsOwnNamesAndTypes) {
  for (const FormatTraits& row : all_formats()) {
    EXPECT_EQ(traits(row.format).name, row.name);
    EXPECT_EQ(format_from_ggml_type(row.ggml_type), row.format);
    EXPECT_EQ(parse_format(row.name), row.format);
    EXPECT_EQ(row.group == 0, row.decode_groups == nullptr) << row.name;
    EXPECT_EQ(row.group == 0, row.bits == 0) << row.name;
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

std::vector<float> round_trip(const FormatTraits& row, const std::vector<float>& values) {
  const auto elements = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(row, elements)));
  row.encode(values.data(), elements, blocks.data());
  std::vector<float> decoded(values.size());
  row.decode(blocks.data(), elements, decoded.data());
  return decoded;
}

TEST(Format, EncodedValuesComeBackWithinHalfAStep) {
  for (const FormatTraits& row : all_formats()) {
    if (row.encode == nullptr || row.group == 0) continue;
    std::vector<float> values(256);
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f);
    const std::vector<float> decoded = round_trip(row, values);
    // Steps over the range of 2: 16 codes of four bits, 255 of eight; Q4_0 clips one step at one
    // end.
    const float step = row.bits == 4 ? 2.0f / 15.0f : 2.0f / 254.0f;
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(decoded[i], values[i], row.format == Format::q4_0 ? step : 0.57f * step)
          << row.name << " " << i;
    }
  }
}

TEST(Format, EncodersAcceptNonFiniteAndTinyValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const FormatTraits& row : all_formats()) {
    if (row.encode == nullptr || row.group == 0) continue;
    std::vector<float> values(256, 0.5f);
    for (const float odd : {infinity, -infinity, nan, -nan}) {
      values[3] = odd;
      round_trip(row, values);  // the sanitizers see an undefined conversion
    }
    const float tiny = std::numeric_limits<float>::denorm_min();
    for (const float value : round_trip(row, std::vector<float>(256, tiny)))
      EXPECT_EQ(value, 0.0f) << row.name;
  }
}

}  // namespace
}  // namespace dunlin

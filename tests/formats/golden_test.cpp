// Every format against PyPI gguf: bits of decoded values, the forms by groups and by factors, bits
// of encoded blocks where there is one right answer, and elsewhere an error no larger than gguf's.
// The data are made by tools/make_format_goldens.py.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/byte_source.h"
#include "formats/format.h"

namespace dunlin {
namespace {

struct Golden {
  std::string name;
  std::string blocks;
  std::vector<float> decoded;
  std::string encoded;
  std::vector<float> values;
};

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}
  bool done() const { return at_ == bytes_.size(); }
  uint32_t number() {
    uint32_t value = 0;
    std::memcpy(&value, take(4).data(), 4);
    return value;
  }
  std::string take(size_t count) {
    if (count > bytes_.size() - at_) throw std::runtime_error("golden file is too short");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  std::vector<float> floats(size_t count) {
    std::vector<float> values(count);
    const std::string bytes = take(count * 4);
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

std::vector<Golden> read_goldens() {
  const auto text = read_text_file(DUNLIN_SOURCE_DIR "/tests/formats/data/formats.bin", 1 << 20);
  if (!text.ok()) throw std::runtime_error(text.error().message);
  Reader reader(*text);
  std::vector<Golden> goldens;
  while (!reader.done()) {
    Golden golden;
    golden.name = reader.take(reader.number());
    uint32_t elements = reader.number();
    uint32_t bytes = reader.number();
    golden.blocks = reader.take(bytes);
    golden.decoded = reader.floats(elements);
    elements = reader.number();
    bytes = reader.number();
    golden.encoded = reader.take(bytes);
    golden.values = reader.floats(elements);
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

const std::byte* as_bytes(const std::string& text) {
  return reinterpret_cast<const std::byte*>(text.data());
}

// Equal bits; any NaN equals any other, since converting a NaN may quiet it.
testing::AssertionResult same_bits(const std::vector<float>& left,
                                   const std::vector<float>& right) {
  for (size_t i = 0; i < left.size(); ++i) {
    if (std::isnan(left[i]) && std::isnan(right[i])) continue;
    if (std::bit_cast<uint32_t>(left[i]) != std::bit_cast<uint32_t>(right[i])) {
      return testing::AssertionFailure()
             << "element " << i << ": " << left[i] << " and " << right[i];
    }
  }
  return testing::AssertionSuccess();
}

class FormatGolden : public testing::TestWithParam<Format> {
 protected:
  void SetUp() override {
    for (Golden& golden : read_goldens()) {
      if (golden.name == row_.name) golden_ = std::move(golden);
    }
    ASSERT_FALSE(golden_.decoded.empty());
    ASSERT_EQ(static_cast<int64_t>(golden_.blocks.size()), row_bytes(row_, elements()));
  }
  int64_t elements() const { return static_cast<int64_t>(golden_.decoded.size()); }

  const FormatTraits& row_ = traits(GetParam());
  Golden golden_;
};

class GroupGolden : public FormatGolden {};   // the integer formats
class FactorGolden : public FormatGolden {};  // the super-block formats
class EncodeGolden : public FormatGolden {};  // those that only round
class SearchGolden : public FormatGolden {};  // those that search, and gguf quantises to

TEST_P(FormatGolden, DecodesToTheSameBits) {
  std::vector<float> values(golden_.decoded.size());
  row_.decode(as_bytes(golden_.blocks), elements(), values.data());
  EXPECT_TRUE(same_bits(values, golden_.decoded));
}

TEST_P(GroupGolden, GroupsGiveTheDecodedValues) {
  const float untouched = 12345.0f;
  std::vector<int8_t> codes(golden_.decoded.size());
  std::vector<float> scales(golden_.decoded.size() / static_cast<size_t>(row_.group));
  std::vector<float> mins(scales.size(), untouched);
  row_.decode_groups(as_bytes(golden_.blocks), elements(), codes.data(), scales.data(),
                     mins.data());
  std::vector<float> values(codes.size());
  for (size_t k = 0; k < codes.size(); ++k) {
    const size_t group = k / static_cast<size_t>(row_.group);
    const float product = scales[group] * static_cast<float>(codes[k]);
    values[k] = row_.has_min ? product + mins[group] : product;
  }
  EXPECT_TRUE(same_bits(values, golden_.decoded));
  if (!row_.has_min) {
    EXPECT_EQ(mins, std::vector<float>(mins.size(), untouched));
  }
}

TEST_P(FactorGolden, FactorsGiveTheScalesOfTheGroups) {
  std::vector<int8_t> codes(golden_.decoded.size());
  const size_t groups = codes.size() / static_cast<size_t>(row_.group);
  const size_t blocks = codes.size() / static_cast<size_t>(row_.block_elements);
  std::vector<float> scales(groups), mins(groups), d(blocks), dmin(blocks);
  std::vector<int8_t> factors(groups), min_factors(groups);
  row_.decode_groups(as_bytes(golden_.blocks), elements(), codes.data(), scales.data(),
                     mins.data());
  row_.decode_factors(as_bytes(golden_.blocks), elements(),
                      {d.data(), factors.data(), dmin.data(), min_factors.data()});
  std::vector<float> expected_scales, expected_mins;
  for (size_t g = 0; g < groups; ++g) {
    const size_t block = g / (groups / blocks);
    expected_scales.push_back(d[block] * static_cast<float>(factors[g]));
    expected_mins.push_back(row_.has_min ? -(dmin[block] * static_cast<float>(min_factors[g]))
                                         : 0.0f);
  }
  EXPECT_TRUE(same_bits(scales, expected_scales));
  EXPECT_TRUE(same_bits(mins, expected_mins));
}

// What the search makes small: squared errors weighed by mean square + square of the values.
double weighted_error(const std::vector<float>& decoded, const std::vector<float>& values,
                      size_t first, size_t count) {
  double mean_square = 0.0;
  for (size_t k = first; k < first + count; ++k) {
    const auto value = static_cast<double>(values[k]);
    mean_square += value * value / static_cast<double>(count);
  }
  double sum = 0.0;
  for (size_t k = first; k < first + count; ++k) {
    const auto value = static_cast<double>(values[k]);
    const double difference = static_cast<double>(decoded[k]) - value;
    sum += (mean_square + value * value) * difference * difference;
  }
  return sum;
}

// Block by block, where gguf's own block is finite; on average clearly better.
TEST_P(SearchGolden, ErrorIsBelowThatOfGguf) {
  const std::vector<float>& values = golden_.values;
  const auto count = static_cast<int64_t>(values.size());
  std::vector<float> theirs(values.size());
  std::vector<float> ours(values.size());
  row_.decode(as_bytes(golden_.encoded), count, theirs.data());
  std::string blocks(golden_.encoded.size(), '\0');
  row_.encode(values.data(), count, nullptr, reinterpret_cast<std::byte*>(blocks.data()));
  row_.decode(as_bytes(blocks), count, ours.data());
  const auto block = static_cast<size_t>(row_.block_elements);
  double ratio_sum = 0.0;
  int random_blocks = 0;
  for (size_t first = 0; first < values.size(); first += block) {
    const double error = weighted_error(ours, values, first, block);
    const double bound = weighted_error(theirs, values, first, block);
    if (!std::isfinite(bound)) continue;
    EXPECT_LE(error, bound * 1.0001) << "block " << first / block;
    if (first / block < 8) continue;  // the special ones
    ratio_sum += error / bound;
    ++random_blocks;
  }
  EXPECT_LT(ratio_sum / random_blocks, 0.97);
}

TEST_P(EncodeGolden, EncodesToTheSameBytes) {
  ASSERT_NE(row_.encode, nullptr);
  ASSERT_FALSE(golden_.values.empty());
  std::string blocks(golden_.encoded.size(), '\x55');
  row_.encode(golden_.values.data(), static_cast<int64_t>(golden_.values.size()), nullptr,
              reinterpret_cast<std::byte*>(blocks.data()));
  for (size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_EQ(blocks[i], golden_.encoded[i])
        << "byte " << i % static_cast<size_t>(row_.block_bytes) << " of block "
        << i / static_cast<size_t>(row_.block_bytes);
  }
}

std::string format_name(const testing::TestParamInfo<Format>& test) {
  return traits(test.param).name;
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatGolden,
                         testing::Values(Format::f32, Format::f16, Format::bf16, Format::q4_0,
                                         Format::q4_1, Format::q5_0, Format::q5_1, Format::q8_0,
                                         Format::q2_k, Format::q3_k, Format::q4_k, Format::q5_k,
                                         Format::q6_k, Format::mxfp4),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, GroupGolden,
                         testing::Values(Format::q4_0, Format::q4_1, Format::q5_0, Format::q5_1,
                                         Format::q8_0, Format::q2_k, Format::q3_k, Format::q4_k,
                                         Format::q5_k, Format::q6_k),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, FactorGolden,
                         testing::Values(Format::q2_k, Format::q3_k, Format::q4_k, Format::q5_k,
                                         Format::q6_k),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, EncodeGolden,
                         testing::Values(Format::f32, Format::f16, Format::bf16, Format::q8_0),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, SearchGolden,
                         testing::Values(Format::q4_0, Format::q4_1, Format::q5_0, Format::q5_1,
                                         Format::mxfp4),
                         format_name);

}  // namespace
}  // namespace dunlin

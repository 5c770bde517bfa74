// Every format against PyPI gguf: bits of decoded values, the group form, and bits of encoded
// blocks. The data are made by tools/make_format_goldens.py.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

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
class EncodeGolden : public FormatGolden {};  // those that gguf quantises to

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

TEST_P(EncodeGolden, EncodesToTheSameBytes) {
  ASSERT_NE(row_.encode, nullptr);
  ASSERT_FALSE(golden_.values.empty());
  std::string blocks(golden_.encoded.size(), '\x55');
  row_.encode(golden_.values.data(), static_cast<int64_t>(golden_.values.size()),
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
                                         Format::q4_1, Format::q8_0, Format::q4_k, Format::q6_k),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, GroupGolden,
                         testing::Values(Format::q4_0, Format::q4_1, Format::q8_0, Format::q4_k,
                                         Format::q6_k),
                         format_name);
INSTANTIATE_TEST_SUITE_P(Formats, EncodeGolden,
                         testing::Values(Format::f32, Format::f16, Format::bf16, Format::q4_0,
                                         Format::q4_1, Format::q8_0),
                         format_name);

}  // namespace
}  // namespace dunlin

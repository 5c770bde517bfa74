// safetensors headers: what is read, and files that are wrong in one place each.
#include "checkpoint/safetensors_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_model.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

Result<std::vector<TensorInfo>> read(const std::string& bytes) {
  return read_safetensors_header(*source_of(bytes, "model.safetensors"));
}

void expect_safetensors_error(const std::string& bytes, const std::string& problem) {
  expect_model_error([&] { return read(bytes); }, "model.safetensors", problem);
}

// A header of one entry and sixteen bytes of data.
void expect_entry_error(const std::string& entry, const std::string& problem) {
  expect_safetensors_error(safetensors_file("{\"a\": " + entry + "}", std::string(16, 'x')),
                           problem);
}

constexpr const char* kGood =
    R"({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}})";

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirData) {
  const auto tensors = read(safetensors_file(
      R"({"b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
          "__metadata__": {"format": "pt", "note": ""},
          "a": {"shape": [2, 2], "data_offsets": [0, 16], "dtype": "F32"},
          "c": {"dtype": "F16", "shape": [], "data_offsets": [22, 24]}}   )",
      std::string(24, 'x')));
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 3u);
  const TensorInfo& first = tensors->at(0);
  EXPECT_EQ(first.name, "a");
  EXPECT_EQ(first.format, Format::f32);
  EXPECT_THAT(first.shape, ElementsAre(2, 2));
  EXPECT_EQ(tensors->at(1).name, "b");
  EXPECT_EQ(tensors->at(1).format, Format::bf16);
  EXPECT_EQ(tensors->at(1).offset, first.offset + 16);
  EXPECT_TRUE(tensors->at(2).shape.empty());
  EXPECT_EQ(tensors->at(2).bytes, 2u);
}

TEST(Safetensors, DataNeedNoAlignment) {
  const auto tensors = read(safetensors_file(std::string(kGood) + " ", std::string(16, 'x')));
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  EXPECT_EQ(tensors->at(0).offset, 8 + std::string(kGood).size() + 1);
}

TEST(Safetensors, ZeroSizeTensorIsListed) {
  const auto tensors = read(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}})", ""));
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  EXPECT_EQ(tensors->at(0).bytes, 0u);
}

TEST(SafetensorsMalformed, FewerThanEightBytes) {
  for (size_t length = 0; length < 8; ++length)
    expect_safetensors_error(std::string(length, 'a'), "too few");
}

TEST(SafetensorsMalformed, HeaderLength) {
  expect_safetensors_error(raw<uint64_t>(0) + "abc", "does not begin with {");
  for (const uint64_t length :
       {UINT64_MAX, UINT64_C(1) << 63, UINT64_C(100'000'001), UINT64_C(65)}) {
    expect_safetensors_error(raw(length) + std::string(64, ' '), "a header of");
  }
}

TEST(SafetensorsMalformed, HeaderIsNotUtf8) {
  expect_safetensors_error(safetensors_file("{\"\xff\": 1}", ""), "not valid JSON");
  expect_safetensors_error(safetensors_file("{\"__metadata__\": {\"\xc0\xaf\": \"\"}}", ""),
                           "not valid JSON");
}

TEST(SafetensorsMalformed, HeaderDoesNotBeginWithABrace) {
  expect_safetensors_error(safetensors_file(" {}", ""), "does not begin with {");
  expect_safetensors_error(safetensors_file("[]", ""), "does not begin with {");
}

TEST(SafetensorsMalformed, TextAfterTheHeader) {
  expect_safetensors_error(safetensors_file(std::string(kGood) + "x", std::string(16, 'x')),
                           "not valid JSON");
  expect_safetensors_error(safetensors_file(std::string(kGood) + "{}", std::string(16, 'x')),
                           "not valid JSON");
}

TEST(SafetensorsMalformed, DeepNesting) {
  expect_safetensors_error(safetensors_file("{\"a\": " + std::string(100000, '['), ""),
                           "a list is not expected");
  std::string objects = "{\"a\": ";
  for (int i = 0; i < 50000; ++i) objects += "{\"a\": ";
  expect_safetensors_error(safetensors_file(objects, ""), "an object is not expected");
  expect_safetensors_error(safetensors_file("{\"a\": {\"shape\": " + std::string(100000, '['), ""),
                           "a list is not expected");
}

TEST(SafetensorsMalformed, DuplicateNames) {
  expect_safetensors_error(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                                    "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})",
                       std::string(8, 'x')),
      "occurs twice");
  expect_entry_error(R"({"dtype": "F32", "dtype": "F16", "shape": [4], "data_offsets": [0, 16]})",
                     "twice");
}

TEST(SafetensorsMalformed, DuplicateMetadata) {
  expect_safetensors_error(safetensors_file(R"({"__metadata__": {"b": "", "a": "", "b": ""}})", ""),
                           "__metadata__ has the key \"b\" twice");
  expect_safetensors_error(safetensors_file(R"({"__metadata__": {}, "__metadata__": {}})", ""),
                           "__metadata__ occurs twice");
}

// Names that are all in one chain of a hash table, or a look at all earlier names for each, would
// take minutes.
TEST(Safetensors, ManyTensors) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {
    header += fmt::format(R"("{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},)", i);
  }
  header.back() = '}';
  const auto tensors = read(safetensors_file(header, ""));
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  EXPECT_EQ(tensors->size(), 100'000u);
}

TEST(SafetensorsMalformed, TooManyKeysOfTheMetadata) {
  std::string header = "{\"__metadata__\":{";
  for (size_t i = 0; i <= kMostSafetensorsNames; ++i) header += fmt::format("\"{}\":\"\",", i);
  header.back() = '}';
  const auto tensors = read(safetensors_file(header + "}", ""));
  EXPECT_EQ(tensors.error().message, "model.safetensors: more than 1000000 keys of __metadata__");
}

TEST(SafetensorsMalformed, NameNotText) {
  expect_safetensors_error(
      safetensors_file(R"({"a\u0000b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
                       "abcd"),
      "is not visible ASCII");
  expect_safetensors_error(
      safetensors_file(R"({"": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})", "abcd"),
      "is not visible ASCII");
}

TEST(SafetensorsMalformed, MetadataIsNotStrings) {
  for (const char* value : {"1", "null", "[]", "{}", "true", "1.5", "-1"}) {
    expect_safetensors_error(
        safetensors_file(std::string("{\"__metadata__\": {\"a\": ") + value + "}}", ""),
        "not expected");
  }
  expect_safetensors_error(safetensors_file(R"({"__metadata__": "a"})", ""), "not expected");
}

TEST(SafetensorsMalformed, UnknownType) {
  expect_entry_error(R"({"dtype": "F99", "shape": [4], "data_offsets": [0, 16]})",
                     "is stored as \"F99\"");
  expect_entry_error(R"({"dtype": "I64", "shape": [2], "data_offsets": [0, 16]})",
                     "is stored as \"I64\"");
  expect_entry_error(R"({"dtype": 1, "shape": [2], "data_offsets": [0, 16]})",
                     "a number is not expected");
}

TEST(SafetensorsMalformed, MissingFields) {
  expect_entry_error(R"({"shape": [4], "data_offsets": [0, 16]})", "lacks");
  expect_entry_error(R"({"dtype": "F32", "data_offsets": [0, 16]})", "lacks");
  expect_entry_error(R"({"dtype": "F32", "shape": [4]})", "lacks");
  expect_entry_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [0]})", "lacks");
  expect_entry_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 32]})",
                     "more than 2 data_offsets");
  expect_entry_error("null", "null is not expected");
  expect_entry_error("7", "a number is not expected");
  expect_entry_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 16], "extra": {}})",
                     "not expected");
}

TEST(SafetensorsMalformed, ShapeIsNotSizes) {
  for (const char* shape : {"[-4]", "[4.0]", "[\"4\"]", "[[4]]", "[null]", "4", "{}", "[1e400]",
                            "[18446744073709551616]"}) {
    const std::string entry =
        std::string(R"({"dtype": "F32", "shape": )") + shape + R"(, "data_offsets": [0, 16]})";
    expect_model_error(
        [&] { return read(safetensors_file("{\"a\": " + entry + "}", std::string(16, 'x'))); },
        "model.safetensors", "");
  }
  expect_entry_error(R"({"dtype": "F32", "shape": [1,1,1,1,1,1,1,1,4], "data_offsets": [0, 16]})",
                     "more than 8 shape");
}

TEST(SafetensorsMalformed, ShapeOverflows) {
  for (const char* shape :
       {"[9223372036854775807, 2]", "[4294967296, 4294967296]", "[18446744073709551615]",
        "[4611686018427387904]", "[0, 18446744073709551615]"}) {
    const std::string entry =
        std::string(R"({"dtype": "F32", "shape": )") + shape + R"(, "data_offsets": [0, 16]})";
    expect_entry_error(entry, "does not have 16 bytes");
  }
}

TEST(SafetensorsMalformed, ShapeDoesNotMatchTheData) {
  expect_entry_error(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 16]})",
                     "does not have 16 bytes");
}

TEST(SafetensorsMalformed, OffsetsReversed) {
  expect_entry_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [16, 0]})", "begin at 16");
  expect_safetensors_error(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})",
                       std::string(16, 'x')),
      "are 8..0");
}

TEST(SafetensorsMalformed, TensorsOverlap) {
  expect_safetensors_error(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
                                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                       std::string(16, 'x')),
      "begin at 8, not at 12");
}

TEST(SafetensorsMalformed, Holes) {
  expect_safetensors_error(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                       std::string(16, 'x')),
      "begin at 8, not at 4");
  expect_safetensors_error(
      safetensors_file(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})",
                       std::string(8, 'x')),
      "begin at 4, not at 0");
}

TEST(SafetensorsMalformed, DataNotCovered) {
  expect_safetensors_error(safetensors_file(kGood, std::string(20, 'x')),
                           "the tensors end at 16 of 20 bytes");
  expect_safetensors_error(safetensors_file("{}", "abcd"), "the tensors end at 0 of 4 bytes");
}

TEST(SafetensorsMalformed, OffsetsBeyondTheFile) {
  expect_safetensors_error(safetensors_file(kGood, std::string(15, 'x')),
                           "but the file holds 15 bytes");
  expect_entry_error(R"({"dtype": "F32", "shape": [4], "data_offsets": [0, 18446744073709551615]})",
                     "holds 16 bytes");
}

TEST(SafetensorsMalformed, TruncatedAnywhere) {
  const std::string bytes = safetensors_file(tiny_tensors(true, false));
  ASSERT_TRUE(read(bytes).ok());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto result = read(bytes.substr(0, length));
    ASSERT_FALSE(result.ok()) << length;
    ASSERT_EQ(result.error().kind, ErrorKind::model);
  }
}

TEST(SafetensorsMalformed, PolyglotPrefix) {
  const std::string bytes = safetensors_file(tiny_tensors(true, false));
  expect_safetensors_error("PK\x03\x04" + bytes, "a header of");
  expect_safetensors_error("%PDF-1.7" + bytes, "a header of");
}

}  // namespace
}  // namespace dunlin

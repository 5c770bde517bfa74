// GGUF files that are wrong in one place each: a model error that names the file, quickly and
// without much memory.
#include "checkpoint/gguf_reader.h"

#include <gtest/gtest.h>

#include "tiny_model.h"

namespace dunlin {
namespace {

void expect_reader_error(const std::string& bytes, const std::string& problem) {
  expect_model_error([&] { return open_gguf_bytes(bytes); }, "tiny.gguf", problem);
}

void expect_reader_error(const GgufBuilder& builder, const std::string& problem) {
  expect_reader_error(builder.build(), problem);
}

GgufBuilder with_tensor(GgufTensor tensor) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.push_back(std::move(tensor));
  return builder;
}

TEST(GgufMalformed, EmptyFile) {
  expect_reader_error(std::string(), "the file ends (0 bytes) inside the magic number");
}

TEST(GgufMalformed, OneTo23Bytes) {
  const std::string bytes = tiny_gguf().build();
  for (size_t length = 1; length < 24; ++length)
    expect_reader_error(bytes.substr(0, length), "the file ends");
}

TEST(GgufMalformed, BadMagic) {
  GgufBuilder builder = tiny_gguf();
  builder.magic = "GGML";
  expect_reader_error(builder, "not a GGUF file");
}

TEST(GgufMalformed, BigEndianMagic) {
  GgufBuilder builder = tiny_gguf();
  builder.magic = "FUGG";
  expect_reader_error(builder, "big-endian");
}

TEST(GgufMalformed, ByteSwappedVersion) {
  GgufBuilder builder = tiny_gguf();
  builder.version = 0x03000000;
  expect_reader_error(builder, "big-endian");
}

TEST(GgufMalformed, OtherVersions) {
  for (const uint32_t version : {0u, 1u, 4u, 0xffffu}) {
    GgufBuilder builder = tiny_gguf();
    builder.version = version;
    expect_reader_error(builder, "versions 2 and 3 are read");
  }
}

TEST(GgufMalformed, TensorCountBeyondTheFile) {
  for (const uint64_t count : {UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63}) {
    GgufBuilder builder = tiny_gguf();
    builder.tensor_count = count;
    expect_reader_error(builder, "tensors do not fit");
  }
}

TEST(GgufMalformed, TensorCountOneTooHigh) {
  GgufBuilder builder = tiny_gguf();
  builder.tensor_count = builder.tensors.size() + 1;
  expect_reader_error(builder, "tensor");
}

TEST(GgufMalformed, KeyCountBeyondTheFile) {
  for (const uint64_t count : {UINT64_MAX, UINT64_C(1) << 32}) {
    GgufBuilder builder = tiny_gguf();
    builder.pair_count = count;
    expect_reader_error(builder, "keys do not fit");
  }
  GgufBuilder builder = tiny_gguf();
  builder.pair_count =
      builder.build().size() / 13;  // just above what fits after the 24 bytes before
  expect_reader_error(builder, "keys do not fit");
}

TEST(GgufMalformed, KeyLength) {
  for (const uint64_t length : {UINT64_MAX, UINT64_C(0), UINT64_C(65536)}) {
    GgufBuilder builder;
    builder.pair_count = 1;
    expect_reader_error(builder.header() + raw(length) + std::string(70000, 'k'), "a key of");
  }
}

TEST(GgufMalformed, KeyNotText) {
  for (const std::string& key :
       {std::string("a\xff"), std::string("a\0b", 3), std::string("a\nb"), std::string("é")}) {
    expect_reader_error(tiny_gguf().u32(key, 1), "is not visible ASCII");
  }
}

TEST(GgufMalformed, StringNotUtf8) {
  for (const char* text : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    expect_reader_error(tiny_gguf().text("general.name", text),
                        "a string of the key general.name is not UTF-8");
  }
}

TEST(GgufMalformed, StringWithZeroByte) {
  expect_reader_error(tiny_gguf().text("general.name", std::string("a\0b", 3)),
                      "contains a zero byte");
}

TEST(GgufMalformed, StringLongerThanTheFile) {
  for (const uint64_t length : {UINT64_MAX, UINT64_C(1) << 32}) {
    expect_reader_error(tiny_gguf().set("general.name", kString, raw(length)), "the file ends");
  }
}

TEST(GgufMalformed, UnknownValueType) {
  for (const uint32_t type : {13u, 0xffffffffu})
    expect_reader_error(tiny_gguf().set("x", type, ""), "unknown type");
}

TEST(GgufMalformed, ArrayOfArrays) {
  expect_reader_error(
      tiny_gguf().array("x", kArray, 1, raw<uint32_t>(kU8) + raw<uint64_t>(1) + "a"),
      "an array of arrays");
}

TEST(GgufMalformed, ArrayOfUnknownType) {
  expect_reader_error(tiny_gguf().array("x", 99, 1, "a"), "unknown type 99");
}

TEST(GgufMalformed, ArrayCountOverflows) {
  for (const uint64_t count : {UINT64_MAX, UINT64_MAX / 8 + 2, UINT64_C(1) << 63}) {
    for (const uint32_t type : {kU8, kF64, kString}) {
      expect_reader_error(tiny_gguf().array("x", type, count, ""), "do not fit");
    }
  }
}

TEST(GgufMalformed, ArrayLongerThanTheFile) {
  expect_reader_error(tiny_gguf().array("x", kI32, 1 << 20, "abcd"), "do not fit");
}

TEST(GgufMalformed, BooleanNeitherZeroNorOne) {
  expect_reader_error(tiny_gguf().set("x", kBool, "\x02"), "boolean 2");
}

TEST(GgufMalformed, IntegerAboveSigned) {
  expect_reader_error(tiny_gguf().set("x", kU64, raw(UINT64_MAX)),
                      "above the largest signed integer");
}

TEST(GgufMalformed, DuplicateKey) {
  GgufBuilder builder = tiny_gguf();
  builder.pairs.push_back(builder.pairs.back());
  expect_reader_error(builder, "occurs twice");
}

TEST(GgufMalformed, Alignment) {
  for (const uint32_t alignment : {0u, 3u, 4u, 13u, 0x80000000u, 0xffffffffu}) {
    expect_reader_error(tiny_gguf().u32("general.alignment", alignment), "not a power of two");
  }
  expect_reader_error(tiny_gguf().set("general.alignment", kI32, raw<int32_t>(32)), "not a UINT32");
  expect_reader_error(tiny_gguf().set("general.alignment", kU64, raw<uint64_t>(32)),
                      "not a UINT32");
}

TEST(GgufMalformed, TensorNameLength) {
  expect_reader_error(with_tensor({std::string(64, 'a'), {1}, 0, "abcd"}), "has 64 bytes");
  expect_reader_error(with_tensor({"", {1}, 0, "abcd"}), "has 0 bytes");
}

TEST(GgufMalformed, TensorNameNotText) {
  expect_reader_error(with_tensor({"a\x01", {1}, 0, "abcd"}), "not visible ASCII");
}

TEST(GgufMalformed, DuplicateTensor) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.push_back(builder.tensors.back());
  expect_reader_error(builder, "occurs twice");
}

TEST(GgufMalformed, DimensionCount) {
  for (const uint32_t dimensions : {0u, 5u, 0xffffffffu}) {
    expect_reader_error(with_tensor({"t", {1}, 0, "abcd", {}, dimensions}), "dimensions, not 1..4");
  }
}

TEST(GgufMalformed, DimensionZero) {
  expect_reader_error(with_tensor({"t", {4, 0}, 0, ""}), "a dimension of 0");
}

TEST(GgufMalformed, DimensionNegative) {
  expect_reader_error(with_tensor({"t", {4, UINT64_MAX}, 0, ""}), "larger than any file");
}

TEST(GgufMalformed, DimensionProductOverflows) {
  const uint64_t big = UINT64_C(0x7fffffffffffffc0);
  expect_reader_error(with_tensor({"t", {big, 2}, 0, ""}), "larger than any file");
  expect_reader_error(with_tensor({"t", {UINT64_C(1) << 32, UINT64_C(1) << 32}, 0, ""}),
                      "larger than any file");
  expect_reader_error(with_tensor({"t", {UINT64_C(1) << 62, 1}, 0, ""}), "larger than any file");
  expect_reader_error(with_tensor({"t", {UINT64_C(1) << 40, UINT64_C(1) << 20}, 2, ""}),
                      "beyond the file");
}

TEST(GgufMalformed, SizesOfTwoTensorsWrapAround) {
  GgufBuilder builder = tiny_gguf();
  const uint64_t big = UINT64_C(0x7fffffffffffffc0) / 4;
  builder.tensors.push_back({"t1", {big}, 0, ""});
  builder.tensors.push_back({"t2", {big}, 0, ""});
  expect_reader_error(builder, "beyond the file");
}

TEST(GgufMalformed, UnknownTensorType) {
  for (const uint32_t type : {4u, 5u, 31u, 42u, 1000u, 0x80000000u, 0xffffffffu}) {
    expect_reader_error(with_tensor({"t", {32}, type, "abcd"}), "unknown type");
  }
}

TEST(GgufMalformed, UnsupportedTensorTypeIsNamed) {
  expect_reader_error(with_tensor({"t", {256}, 23, "abcd"}), "is stored as IQ4_XS");
}

TEST(GgufMalformed, RowsThatAreNotWholeBlocks) {
  expect_reader_error(with_tensor({"t", {33, 2}, 2, std::string(36, 'x')}),
                      "not whole blocks of 32");
}

TEST(GgufMalformed, OffsetNotAligned) {
  expect_reader_error(with_tensor({"t", {1}, 0, "abcd", 4}), "not a multiple of 32");
}

TEST(GgufMalformed, OffsetBeyondTheFile) {
  expect_reader_error(with_tensor({"t", {1}, 0, "abcd", UINT64_C(1) << 40}), "beyond the file");
}

TEST(GgufMalformed, OffsetWrapsAround) {
  expect_reader_error(with_tensor({"t", {64}, 0, "abcd", UINT64_MAX - 31}), "beyond the file");
  expect_reader_error(with_tensor({"t", {1}, 0, "abcd", UINT64_MAX - 31}), "beyond the file");
}

TEST(GgufMalformed, TensorsOverlap) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.back().offset = 0;
  expect_reader_error(builder, "overlaps the tensor");
}

TEST(GgufMalformed, BytesAfterTheLastTensor) {
  expect_reader_error(tiny_gguf().build() + std::string(32, '\0'),
                      "32 bytes follow the last tensor");
}

TEST(GgufMalformed, TruncatedAnywhere) {
  const std::string bytes = tiny_gguf().build();
  const size_t last_data = bytes.size() - 32;  // the last tensor may lack its padding
  for (size_t length = 0; length < last_data; ++length) {
    const auto result = open_gguf_bytes(bytes.substr(0, length));
    ASSERT_FALSE(result.ok()) << length;
    ASSERT_EQ(result.error().kind, ErrorKind::model);
  }
}

TEST(GgufMalformed, MegabyteTruncatedAtEveryPage) {
  GgufBuilder builder = tiny_gguf();
  builder.tensor("token_embd.weight").extents = {kHidden, 32768};
  builder.tensor("token_embd.weight").data = std::string(32768 * kHidden * 4, '\1');
  builder.u32("llama.vocab_size", 32768);
  builder.tensor("output.weight").extents = {kHidden, 32768};
  builder.tensor("output.weight").data = std::string(32768 * kHidden * 4, '\1');
  const std::string bytes = builder.build();
  ASSERT_TRUE(open_gguf_bytes(bytes).ok());
  for (size_t length = 0; length < bytes.size() - 32; length += 4096) {
    ASSERT_FALSE(open_gguf_bytes(bytes.substr(0, length)).ok()) << length;
  }
}

// A changed byte gives an error or a model whose every weight can still be read.
TEST(GgufMalformed, EveryByteOfTheHeaderChanged) {
  const GgufBuilder builder = tiny_gguf();
  const size_t header = builder.header().size();
  std::string bytes = builder.build();
  for (size_t at = 0; at < header; ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      if (const auto result = open_gguf_bytes(bytes); result.ok()) {
        for (const TensorInfo& tensor : (*result)->tensors()) {
          if (!tensor.canonical_name.empty()) weight_values(**result, tensor.canonical_name);
        }
      }
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
    }
  }
}

// A file made of holes costs no disk but claims gigabytes: a header may not.
TEST(GgufMalformed, HeaderOfHolesIsBounded) {
  class Holes final : public ByteSource {
   public:
    explicit Holes(std::string start) : start_(std::move(start)) {}
    Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
      for (size_t i = 0; i < into.size(); ++i) {
        into[i] =
            offset + i < start_.size() ? static_cast<std::byte>(start_[offset + i]) : std::byte{0};
      }
      return {};
    }
    uint64_t size() const override { return UINT64_C(1) << 42; }
    const std::string& name() const override { return name_; }

   private:
    std::string start_;
    std::string name_ = "holes.gguf";
  };
  GgufBuilder builder = tiny_gguf().array("x", kString, UINT64_C(1) << 38, "");
  builder.tensors.clear();
  expect_model_error([&] { return read_gguf_header(Holes(builder.header())); }, "holes.gguf",
                     "do not fit");
}

TEST(GgufReader, KeepsEveryTypeOfValue) {
  GgufBuilder builder;
  builder.set("u8", kU8, "\xff").set("i8", kI8, "\xff").set("u16", kU16, raw<uint16_t>(65535));
  builder.set("i16", kI16, raw<int16_t>(-2))
      .set("i32", kI32, raw<int32_t>(-3))
      .set("u64", kU64, raw<uint64_t>(5));
  builder.set("i64", kI64, raw<int64_t>(-6)).set("f64", kF64, raw(0.1)).set("flag", kBool, "\x01");
  builder.text("text", "gr\xc3\xbc\xc3\x9f").array("flags", kBool, 2, std::string("\x01\x00", 2));
  builder.array("reals", kF32, 2, raw(0.5f) + raw(-1.5f))
      .array("texts", kString, 2, raw_string("a") + raw_string(""));
  builder.array("none", kU32, 0, "");
  const auto header = read_gguf_header(*source_of(builder.build(), "types.gguf"));
  ASSERT_TRUE(header.ok()) << header.error().message;
  const Metadata& metadata = header->metadata;
  EXPECT_EQ(*metadata.find("u8"), Metadata::Value(int64_t{255}));
  EXPECT_EQ(*metadata.find("i8"), Metadata::Value(int64_t{-1}));
  EXPECT_EQ(*metadata.find("u16"), Metadata::Value(int64_t{65535}));
  EXPECT_EQ(*metadata.find("i16"), Metadata::Value(int64_t{-2}));
  EXPECT_EQ(*metadata.find("i32"), Metadata::Value(int64_t{-3}));
  EXPECT_EQ(*metadata.find("u64"), Metadata::Value(int64_t{5}));
  EXPECT_EQ(*metadata.find("i64"), Metadata::Value(int64_t{-6}));
  EXPECT_EQ(*metadata.find("f64"), Metadata::Value(0.1));
  EXPECT_EQ(*metadata.find("flag"), Metadata::Value(true));
  EXPECT_EQ(*metadata.find("text"), Metadata::Value(std::string("gr\xc3\xbc\xc3\x9f")));
  EXPECT_EQ(*metadata.find("flags"), Metadata::Value(std::vector<int64_t>{1, 0}));
  EXPECT_EQ(*metadata.find("reals"), Metadata::Value(std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(*metadata.find("texts"), Metadata::Value(std::vector<std::string>{"a", ""}));
  EXPECT_EQ(*metadata.find("none"), Metadata::Value(std::vector<int64_t>{}));
}

TEST(GgufReader, PlacesTensorsWithHolesAndAnotherAlignment) {
  GgufBuilder builder;
  builder.alignment = 64;
  builder.u32("general.alignment", 64);
  builder.tensors.push_back({"first", {32, 2}, 2, std::string(36, 'a')});
  builder.tensors.push_back({"second", {3}, 0, std::string(12, 'b'), 128});
  std::string bytes = builder.build();
  const size_t data = bytes.size() - 128;
  bytes.insert(data + 64, std::string(64, '\0'));  // the hole
  const auto header = read_gguf_header(*source_of(bytes, "holes.gguf"));
  ASSERT_TRUE(header.ok()) << header.error().message;
  EXPECT_EQ(header->tensors[0].shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(header->tensors[0].bytes, 36u);
  EXPECT_EQ(header->tensors[0].offset, data);
  EXPECT_EQ(header->tensors[1].offset, data + 128);
  EXPECT_EQ(bytes[header->tensors[1].offset], 'b');
}

// As large as the vocabularies of today.
TEST(GgufReader, LargeVocabularyIsRead) {
  std::string tokens;
  std::string types;
  for (int i = 0; i < 128256; ++i) {
    tokens += raw_string("token" + std::to_string(i));
    types += raw<int32_t>(1);
  }
  std::string merges;
  for (int i = 0; i < 280147; ++i) merges += raw_string("left" + std::to_string(i) + " right");
  GgufBuilder builder = tiny_gguf();
  builder.array("tokenizer.ggml.tokens", kString, 128256, tokens);
  builder.array("tokenizer.ggml.token_type", kI32, 128256, types);
  builder.array("tokenizer.ggml.merges", kString, 280147, merges);
  const auto source = source_of(builder.build(), "large.gguf");
  const auto checkpoint = open_gguf(source);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto* list =
      std::get_if<std::vector<std::string>>((*checkpoint)->header().find("tokenizer.ggml.tokens"));
  ASSERT_NE(list, nullptr);
  EXPECT_EQ(list->at(128255), "token128255");
}

}  // namespace
}  // namespace dunlin

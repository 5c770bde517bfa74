// ArrayFile reads what anyone may have written: every malformed file is an error of kind model that
// names the file, and the tensor where it is one tensor's.
#include "parity/array_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

class ArrayFileTest : public testing::Test {
 protected:
  Result<ArrayFile> open_bytes(const std::string& bytes) {
    write_file_atomically(path_, std::as_bytes(std::span(bytes))).value();
    return ArrayFile::open(path_);
  }

  // A file with this header and `data` bytes of zeros.
  Result<ArrayFile> open_header(const std::string& header, size_t data = 16) {
    const uint64_t length = header.size();
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return open_bytes(bytes + header + std::string(data, '\0'));
  }

  void expect_error(const Result<ArrayFile>& file, const std::string& part) {
    ASSERT_FALSE(file.ok()) << part;
    EXPECT_EQ(file.error().kind, ErrorKind::model) << file.error().message;
    EXPECT_NE(file.error().message.find(path_), std::string::npos) << file.error().message;
    EXPECT_NE(file.error().message.find(part), std::string::npos) << file.error().message;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("arrays");
};

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST_F(ArrayFileTest, ReadsWhatItWrote) {
  std::map<std::string, Array> arrays;
  arrays["a"] = {.dtype = DType::f32, .shape = {2, 3}, .floats = {1, 2, 3, 4, 5, -0.5f}};
  arrays["b"] = {.dtype = DType::i32, .shape = {2}, .integers = {-7, 1 << 30}};
  arrays["empty"] = {.dtype = DType::f32, .shape = {0, 4}};
  ASSERT_TRUE(write_array_file(path_, arrays).ok());
  const auto file = ArrayFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->names(), (std::vector<std::string>{"a", "b", "empty"}));
  for (const auto& [name, wanted] : arrays) {
    const auto read = file->read(name);
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->dtype, wanted.dtype);
    EXPECT_EQ(read->shape, wanted.shape);
    EXPECT_EQ(read->floats, wanted.floats);
    EXPECT_EQ(read->integers, wanted.integers);
  }
}

TEST_F(ArrayFileTest, ShortFilesAndWrongLengthsAreErrors) {
  for (const size_t bytes : {0, 1, 7}) {
    const auto file = open_bytes(std::string(bytes, 'x'));
    ASSERT_FALSE(file.ok()) << bytes;
    EXPECT_NE(file.error().message.find(path_), std::string::npos) << file.error().message;
  }
  expect_error(open_bytes(std::string(8, '\xff')), "header's length");
  expect_error(open_bytes(std::string("\x09\0\0\0\0\0\0\0{}", 10)), "header's length");
  ASSERT_FALSE(ArrayFile::open(path_ + ".missing").ok());
}

TEST_F(ArrayFileTest, HeadersThatAreNoObjectAreErrors) {
  for (const char* header : {"[]", "null"}) expect_error(open_header(header), "not a JSON object");
  for (const char* header : {"", "{", "{\"x\":1", "\xff\xfe"})
    expect_error(open_header(header), "not valid JSON");
  expect_error(open_header(std::string(1u << 20, '[')), "nested deeper");
}

TEST_F(ArrayFileTest, EntriesOfTheWrongKindNameTheTensor) {
  for (const char* entry : {"1", "null", "[]", "{}", R"({"dtype":7})"})
    expect_error(open_header(std::string(R"({"x":)") + entry + "}"), "x has no dtype");
  for (const char* bad : {"null", "{}", "[-1]", "[1.5]", "[\"4\"]", "[[4]]"}) {
    expect_error(open_header(tensor("F32", bad, "[0,16]")), "x has no shape");
    expect_error(open_header(tensor("F32", "[4]", bad)), "x has no shape");
  }
  expect_error(open_header(tensor("F32", "[4]", "[0,8,16]")), "x has no shape");
  expect_error(open_header(R"({"__metadata__":[]})"), "__metadata__");
  expect_error(open_header(R"({"__metadata__":{"a":1}})"), "__metadata__.a");
}

TEST_F(ArrayFileTest, OffsetsOutsideTheDataAreErrors) {
  for (const char* offsets :
       {"[0,17]", "[16,0]", "[4,20]", "[18446744073709551612,16]", "[0,18446744073709551615]"}) {
    expect_error(open_header(tensor("F32", "[4]", offsets)), "data_offsets");
  }
}

TEST_F(ArrayFileTest, ShapesThatDisagreeWithTheBytesAreErrors) {
  for (const char* shape : {"[3]", "[5]", "[2,3]", "[]", "[0]", "[4294967296,4294967296]",
                            "[4611686018427387905]", "[18446744073709551615]"}) {
    expect_error(open_header(tensor("F32", shape, "[0,16]")), "x: shape and data_offsets disagree");
  }
  // Nothing to hold, but a size that no shape can have.
  expect_error(open_header(tensor("F32", "[0,18446744073709551615]", "[0,0]")), "x");
}

TEST_F(ArrayFileTest, OtherTypesAreListedButNotRead) {
  const auto file = open_header(tensor("BF16", "[8]", "[0,16]"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_TRUE(file->has("x"));
  const auto read = file->read("x");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind, ErrorKind::model);
  EXPECT_NE(read.error().message.find("BF16"), std::string::npos) << read.error().message;
  const auto missing = file->read("y");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("y"), std::string::npos) << missing.error().message;
}

TEST_F(ArrayFileTest, MetadataIsKept) {
  const auto file = open_header(R"({"__metadata__":{"format":"pt"}})");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->metadata().at("format"), "pt");
}

}  // namespace
}  // namespace dunlin

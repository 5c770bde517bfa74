// GgufWriter: what it writes is read back, byte for byte; files are whole or absent.
#include "checkpoint/gguf_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <numeric>
#include <stdexcept>

#include "checkpoint/gguf_reader.h"
#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

class GgufWriterTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.file(name); }
  GgufWriter writer() const {
    auto writer = GgufWriter::create(path("a.gguf"));
    if (!writer.ok()) throw std::runtime_error(writer.error().message);
    return std::move(*writer);
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryFolder folder_;
};

std::vector<std::byte> counting_bytes(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

TEST_F(GgufWriterTest, KeysAndTensorsComeBack) {
  GgufWriter writer = this->writer();
  writer.set_text("general.architecture", "llama");
  writer.set_u32("u32", 4000000000u);
  writer.set_i32("i32", -7);
  writer.set_f32("f32", 0.5f);
  writer.set_bool("bool", true);
  writer.set_i32s("i32s", std::vector<int32_t>{-1, 2});
  writer.set_texts("texts", std::vector<std::string>{"a", "", "bc"});
  writer.set_u32("u32", 7);  // the later value
  writer.add_tensor("one", {3, 32}, Format::q4_0);
  writer.add_tensor("two", {5}, Format::f32);
  writer.add_tensor("three", {2, 2, 256}, Format::q6_k);
  const std::vector<std::byte> data = counting_bytes(54 + 20 + 840);
  ASSERT_TRUE(writer.begin_data().ok());
  for (size_t at = 0; at < data.size(); at += 33) {  // pieces that cross the tensors' borders
    const size_t count = std::min<size_t>(33, data.size() - at);
    ASSERT_TRUE(writer.write(std::span(data).subspan(at, count)).ok());
  }
  EXPECT_FALSE(fs::exists(path("a.gguf")));
  ASSERT_TRUE(writer.finish().ok());
  EXPECT_EQ(files(), 1u);

  const auto source = open_file(path("a.gguf"));
  ASSERT_TRUE(source.ok());
  const auto header = read_gguf_header(**source);
  ASSERT_TRUE(header.ok()) << header.error().message;
  const Metadata& keys = header->metadata;
  EXPECT_EQ(*keys.text("general.architecture"), "llama");
  EXPECT_EQ(*keys.integer("u32", 0, UINT32_MAX), 7);
  EXPECT_EQ(*keys.integer("i32", INT32_MIN, 0), -7);
  EXPECT_EQ(*keys.number("f32", 0, 1), 0.5);
  EXPECT_EQ(*keys.boolean("bool"), true);
  EXPECT_EQ(std::get<std::vector<int64_t>>(*keys.find("i32s")), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(std::get<std::vector<std::string>>(*keys.find("texts")),
            (std::vector<std::string>{"a", "", "bc"}));
  ASSERT_EQ(header->tensors.size(), 3u);
  EXPECT_EQ(header->tensors[2].shape, (std::vector<int64_t>{2, 2, 256}));
  EXPECT_EQ(header->tensors[2].format, Format::q6_k);
  size_t at = 0;
  for (const TensorInfo& tensor : header->tensors) {
    EXPECT_EQ(tensor.offset % 32, 0u) << tensor.name;
    std::vector<std::byte> bytes(tensor.bytes);
    ASSERT_TRUE((*source)->read_at(tensor.offset, bytes).ok());
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), data.begin() + static_cast<long>(at)))
        << tensor.name;
    at += bytes.size();
  }
  EXPECT_EQ(at, data.size());
}

// Of two tensors that are made at the same time the second is written ahead, all of it or a part.
TEST_F(GgufWriterTest, ATensorMayBeWrittenAhead) {
  const std::vector<std::byte> data = counting_bytes(20 + 36 + 8);
  const auto part = [&data](size_t at, size_t count) { return std::span(data).subspan(at, count); };
  for (const size_t ahead : {size_t{36}, size_t{12}}) {
    GgufWriter writer = this->writer();
    writer.add_tensor("one", {5}, Format::f32);
    writer.add_tensor("two", {9}, Format::f32);
    writer.add_tensor("three", {2}, Format::f32);
    ASSERT_TRUE(writer.begin_data().ok());
    ASSERT_TRUE(writer.write_ahead(part(20, 8)).ok());
    ASSERT_TRUE(writer.write(part(0, 16)).ok());
    ASSERT_TRUE(writer.write_ahead(part(28, ahead - 8)).ok());
    ASSERT_TRUE(writer.write(part(16, 4)).ok());
    ASSERT_TRUE(writer.write(part(20 + ahead, data.size() - 20 - ahead)).ok());
    ASSERT_TRUE(writer.finish().ok());
    const auto source = open_file(path("a.gguf"));
    ASSERT_TRUE(source.ok()) << source.error().message;
    const auto header = read_gguf_header(**source);
    ASSERT_TRUE(header.ok()) << header.error().message;
    size_t at = 0;
    for (const TensorInfo& tensor : header->tensors) {
      std::vector<std::byte> bytes(tensor.bytes);
      ASSERT_TRUE((*source)->read_at(tensor.offset, bytes).ok());
      EXPECT_TRUE(std::ranges::equal(bytes, part(at, bytes.size()))) << tensor.name;
      at += bytes.size();
    }
    EXPECT_EQ(at, data.size());
  }
}

// Copying every pair and tensor of a file gives the file.
TEST_F(GgufWriterTest, StoredPairsCopyAsTheyAre) {
  const std::string original = tiny_gguf("qwen2", true).build();
  const auto source = source_of(original, "original");
  const auto header = read_gguf_header(*source);
  ASSERT_TRUE(header.ok()) << header.error().message;
  GgufWriter writer = this->writer();
  for (const GgufPair& pair : header->pairs) {
    std::vector<std::byte> value(pair.bytes);
    ASSERT_TRUE(source->read_at(pair.offset, value).ok());
    writer.set_stored(pair.key, value);
  }
  for (const TensorInfo& tensor : header->tensors) {
    writer.add_tensor(tensor.name, tensor.shape, tensor.format);
  }
  ASSERT_TRUE(writer.begin_data().ok());
  for (const TensorInfo& tensor : header->tensors) {
    std::vector<std::byte> bytes(tensor.bytes);
    ASSERT_TRUE(source->read_at(tensor.offset, bytes).ok());
    ASSERT_TRUE(writer.write(bytes).ok());
  }
  ASSERT_TRUE(writer.finish().ok());
  EXPECT_EQ(*read_text_file(path("a.gguf"), 1 << 20), original);
}

TEST_F(GgufWriterTest, ImpossibleTensorsAreErrors) {
  const std::tuple<std::string, std::vector<int64_t>, Format, std::string> wrong[] = {
      {"", {4}, Format::f32, "0 bytes"},
      {std::string(64, 'n'), {4}, Format::f32, "64 bytes"},
      {"t", {}, Format::f32, "shape []"},
      {"t", {1, 1, 1, 1, 1}, Format::f32, "1 to 4 dimensions"},
      {"t", {0, 4}, Format::f32, "shape [0, 4]"},
      {"t", {2, 48}, Format::q4_0, "whole blocks of 32"},
      {"t", {INT64_MAX / 2, 64}, Format::f32, "cannot be stored"},
  };
  for (const auto& [name, shape, format, problem] : wrong) {
    GgufWriter writer = this->writer();
    writer.add_tensor(name, shape, format);
    const auto result = writer.begin_data();
    ASSERT_FALSE(result.ok()) << problem;
    EXPECT_NE(result.error().message.find(problem), std::string::npos) << result.error().message;
    EXPECT_NE(result.error().message.find("a.gguf"), std::string::npos);
  }
  GgufWriter writer = this->writer();
  writer.add_tensor("t", {4}, Format::f32);
  writer.add_tensor("t", {4}, Format::f32);
  EXPECT_NE(writer.begin_data().error().message.find("listed twice"), std::string::npos);
}

TEST_F(GgufWriterTest, AnUnfinishedFileLeavesNothing) {
  {
    GgufWriter writer = this->writer();
    writer.add_tensor("t", {64}, Format::f32);
    ASSERT_TRUE(writer.begin_data().ok());
    ASSERT_TRUE(writer.write(counting_bytes(100)).ok());
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
}

// A file size limit stands for a full disk.
TEST_F(GgufWriterTest, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  ASSERT_TRUE(write_file_atomically(path("a.gguf"), std::as_bytes(std::span("old", 3))).ok());
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{4096, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  Result<void> written;
  {
    GgufWriter writer = this->writer();
    writer.add_tensor("t", {4096}, Format::f32);
    ASSERT_TRUE(writer.begin_data().ok());
    written = writer.write(counting_bytes(16384));
  }
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::runtime);
  EXPECT_NE(written.error().message.find("a.gguf"), std::string::npos);
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(*read_text_file(path("a.gguf"), 10), "old");
}

}  // namespace
}  // namespace dunlin

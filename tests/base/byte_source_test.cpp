// ByteSource: reads inside its bytes and nowhere else; only regular files; atomic writes.
#include "base/byte_source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/counted_source.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::shared_ptr<const ByteSource> memory_of(const std::string& text) {
  const auto bytes = bytes_of(text);
  return memory_source(std::vector<std::byte>(bytes.begin(), bytes.end()), "label");
}

class ByteSourceTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.file(name); }

  TemporaryFolder folder_;
  std::array<std::byte, 4> four_{};
};

// Both kinds of source, over the same text, are bounded in the same way.
void expect_bounded_reads(const ByteSource& source, const std::string& text) {
  ASSERT_EQ(source.size(), text.size());
  std::array<char, 4> four{};
  const auto into = std::as_writable_bytes(std::span(four));
  ASSERT_TRUE(source.read_at(2, into).ok());
  EXPECT_EQ(std::string(four.data(), 4), text.substr(2, 4));
  ASSERT_TRUE(source.read_at(text.size() - 4, into).ok());
  EXPECT_EQ(std::string(four.data(), 4), text.substr(text.size() - 4));
  EXPECT_TRUE(source.read_at(text.size(), into.first(0)).ok());
  for (const uint64_t offset : {uint64_t{text.size() - 3}, uint64_t{text.size()},
                                uint64_t{text.size() + 1}, UINT64_MAX - 3, UINT64_MAX}) {
    const auto result = source.read_at(offset, into);
    ASSERT_FALSE(result.ok()) << offset;
    EXPECT_EQ(result.error().kind, ErrorKind::model);
    EXPECT_NE(result.error().message.find(source.name()), std::string::npos)
        << result.error().message;
  }
}

TEST_F(ByteSourceTest, MemoryIsReadInsideItsBytes) {
  expect_bounded_reads(*memory_of("0123456789"), "0123456789");
}

TEST_F(ByteSourceTest, FileIsReadInsideItsBytes) {
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("0123456789")).ok());
  const auto file = open_file(path("a"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ((*file)->name(), path("a"));
  expect_bounded_reads(**file, "0123456789");
}

// It stays when the source and the file's name are gone, and is bounded as reads are.
TEST_F(ByteSourceTest, AFileHoldsItsBytes) {
  const std::string text = std::string(5000, '.') + "0123456789";
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of(text)).ok());
  auto file = open_file(path("a")).value();
  const uint64_t before = file_reads().bytes;
  const auto held = file->hold_lines({.offset = 5002, .step = 2, .bytes = 2, .count = 2}, 1);
  ASSERT_TRUE(held.ok()) << held.error().message;
  ASSERT_TRUE(held->has_value());
  EXPECT_EQ(file_reads().bytes - before, 4u);
  EXPECT_TRUE((*file->hold_lines({.offset = 5010, .bytes = 0, .count = 1}, 1))->bytes.empty());
  for (const uint64_t offset : {uint64_t{5007}, uint64_t{5011}, UINT64_MAX - 3})
    EXPECT_EQ(file->hold_lines({.offset = offset, .bytes = 4, .count = 1}, 1).error().message,
              file->read_at(offset, four_).error().message);
  EXPECT_FALSE(file->hold_lines({.offset = 0, .step = 3, .bytes = 2, .count = 2}, 1)->has_value());
  EXPECT_TRUE(file->hold_lines({.offset = 64, .bytes = 2, .count = 1}, 64)->has_value());
  EXPECT_FALSE(file->hold_lines({.offset = 32, .bytes = 2, .count = 1}, 64)->has_value());
  EXPECT_EQ(file_reads().bytes - before, 6u);
  file.reset();
  fs::remove(path("a"));
  const std::span<const std::byte> bytes = (*held)->bytes;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "2345");
}

TEST_F(ByteSourceTest, MemoryHoldsItsBytes) {
  auto memory = memory_of("0123456789");
  const auto held = memory->hold_lines({.offset = 3, .bytes = 4, .count = 1}, 1);
  EXPECT_FALSE(memory->hold_lines({.offset = 7, .bytes = 4, .count = 1}, 1).ok());
  EXPECT_FALSE(memory->hold_lines({.step = 3, .bytes = 2, .count = 2}, 1)->has_value());
  memory.reset();
  EXPECT_EQ(std::to_integer<char>((*held)->bytes.front()), '3');
  EXPECT_EQ((*held)->bytes.size(), 4u);
}

TEST_F(ByteSourceTest, WhatIsHeldOfACountedSourceCounts) {
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("0123456789")).ok());
  const auto count = std::make_shared<ReadCount>();
  EXPECT_FALSE(CountedSource(open_file(path("a")).value(), count)
                   .hold_lines({.step = 3, .bytes = 2, .count = 2}, 1)
                   ->has_value());
  EXPECT_EQ(count->bytes, 0u);
  EXPECT_TRUE(CountedSource(open_file(path("a")).value(), count)
                  .hold_lines({.offset = 1, .step = 3, .bytes = 3, .count = 2}, 1)
                  ->has_value());
  EXPECT_EQ(count->bytes, 6u);
  EXPECT_EQ(count->reads, 1u);
}

// Two characters of every fifth, three apart in what they become.
std::string lines_of(const ByteSource& source) {
  std::string text(8, '.');
  const auto into = std::as_writable_bytes(std::span(text));
  const auto read =
      source.read_lines({.offset = 1, .step = 5, .bytes = 2, .count = 3}, into.data(), 3);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return text;
}

TEST_F(ByteSourceTest, LinesAreReadAloneOrTogether) {
  const std::string text = "0123456789abcdef";
  EXPECT_EQ(lines_of(*memory_of(text)), "12.67.bc");
  const auto count = std::make_shared<ReadCount>();
  const CountedSource counted(memory_of(text), count);
  EXPECT_EQ(lines_of(counted), "12.67.bc");
  EXPECT_EQ(count->bytes.load(), 6u);
  EXPECT_EQ(count->reads.load(), 3u);
  // The last line ends behind the source.
  std::array<std::byte, 6> six{};
  EXPECT_FALSE(
      counted.read_lines({.offset = 5, .step = 5, .bytes = 2, .count = 3}, six.data(), 2).ok());

  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of(text)).ok());
  const auto file = open_file(path("a")).value();
  const uint64_t bytes = file_reads().bytes;
  uint64_t reads = file_reads().reads;
  EXPECT_EQ(lines_of(*file), "12.67.bc");
  EXPECT_EQ(file_reads().bytes - bytes, 6u);
  EXPECT_EQ(file_reads().reads - reads, 3u);
  // Side by side they are one read.
  reads = file_reads().reads;
  ASSERT_TRUE(
      file->read_lines({.offset = 3, .step = 2, .bytes = 2, .count = 3}, six.data(), 2).ok());
  EXPECT_EQ(std::to_integer<char>(six[5]), '8');
  EXPECT_EQ(file_reads().reads - reads, 1u);
}

TEST_F(ByteSourceTest, EmptySourcesGiveNothing) {
  std::array<std::byte, 1> one{};
  EXPECT_TRUE(memory_of("")->read_at(0, {}).ok());
  EXPECT_FALSE(memory_of("")->read_at(0, one).ok());
  ASSERT_TRUE(write_file_atomically(path("empty"), {}).ok());
  EXPECT_EQ(*read_text_file(path("empty"), 0), "");
}

TEST_F(ByteSourceTest, FileThatShrinksIsAnError) {
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("0123456789")).ok());
  const auto file = open_file(path("a"));
  fs::resize_file(path("a"), 3);
  std::array<std::byte, 8> eight{};
  const auto result = (*file)->read_at(0, eight);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("became shorter"), std::string::npos);
}

TEST_F(ByteSourceTest, OnlyRegularFilesOpen) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  fs::create_symlink("loop", path("loop"));
  for (const std::string& name :
       {path("fifo"), folder_.path(), std::string("/dev/zero"), path("loop"), path("absent")}) {
    const auto result = open_file(name);
    ASSERT_FALSE(result.ok()) << name;
    EXPECT_EQ(result.error().kind, ErrorKind::model);
    EXPECT_EQ(result.error().message.rfind(name, 0), 0u) << result.error().message;
  }
}

TEST_F(ByteSourceTest, TextFilesHaveALimit) {
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("12345")).ok());
  EXPECT_EQ(*read_text_file(path("a"), 5), "12345");
  const auto result = read_text_file(path("a"), 4);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("5 bytes, more than the 4"), std::string::npos)
      << result.error().message;
}

TEST_F(ByteSourceTest, WritingReplacesTheWholeFile) {
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("a long first version")).ok());
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("second")).ok());
  EXPECT_EQ(*read_text_file(path("a"), 100), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()),
            1);  // no temporary is left
}

TEST_F(ByteSourceTest, FailedWriteLeavesNothingBehind) {
  fs::create_directory(path("taken"));
  const auto onto_folder = write_file_atomically(path("taken"), bytes_of("x"));
  ASSERT_FALSE(onto_folder.ok());
  EXPECT_EQ(onto_folder.error().kind, ErrorKind::runtime);
  EXPECT_FALSE(write_file_atomically(path("absent/a"), bytes_of("x")).ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace dunlin

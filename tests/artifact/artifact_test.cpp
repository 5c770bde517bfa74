// Artifacts: what was written is read, and nothing else is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "artifact/layout.h"
#include "artifact/reader.h"
#include "artifact/writer.h"
#include "support/faulty_disk.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;
using Bytes = std::vector<std::byte>;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Artifact : public testing::Test {
 protected:
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

  static Result<void> write(const std::string& path, const std::string& key = "k") {
    DUNLIN_ASSIGN_OR_RETURN(ArtifactWriter writer,
                            ArtifactWriter::create(path, {.kind = "test", .key = key}));
    DUNLIN_RETURN_IF_ERROR(writer.begin_chunk("text"));
    DUNLIN_RETURN_IF_ERROR(writer.append(bytes_of("some ")));
    DUNLIN_RETURN_IF_ERROR(writer.append(bytes_of("text")));
    DUNLIN_RETURN_IF_ERROR(writer.begin_chunk("empty"));
    DUNLIN_RETURN_IF_ERROR(writer.begin_chunk("more"));
    DUNLIN_RETURN_IF_ERROR(writer.append(bytes_of(std::string(100, 'm'))));
    return writer.commit();
  }

  // Opens the bytes and reads every chunk.
  static Result<void> read_all(const std::string& content) {
    Bytes bytes(bytes_of(content).begin(), bytes_of(content).end());
    DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader,
                            ArtifactReader::open(memory_source(std::move(bytes), "a"), "test"));
    for (const ArtifactChunk& chunk : reader.chunks()) {
      if (const auto read = reader.read(chunk.name, 1 << 20); !read.ok()) return read.error();
    }
    return {};
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("a");
};

TEST_F(Artifact, IsReadAsItWasWritten) {
  ASSERT_TRUE(write(path_, std::string("key \0\xff", 6)).ok());
  const auto reader = ArtifactReader::open(path_, "test");
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_EQ(reader->key(), std::string("key \0\xff", 6));
  ASSERT_EQ(reader->chunks().size(), 3u);
  EXPECT_EQ(text_of(*reader->read("text", 9)), "some text");
  EXPECT_EQ(text_of(*reader->read("empty", 0)), "");
  EXPECT_EQ(text_of(*reader->read("more", 100)), std::string(100, 'm'));
  for (const ArtifactChunk& chunk : reader->chunks()) EXPECT_EQ(chunk.offset % 64, 0u);
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
}

TEST_F(Artifact, ChunksOfManyPiecesStream) {
  // Around the borders of a piece, and appends that do not keep to them.
  for (const uint64_t bytes : {kArtifactPieceBytes - 1, kArtifactPieceBytes,
                               kArtifactPieceBytes + 1, 2 * kArtifactPieceBytes + 12345}) {
    std::string data(bytes, '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 13);
    auto writer = ArtifactWriter::create(path_, {.kind = "test", .key = ""});
    ASSERT_TRUE(writer->begin_chunk("data").ok());
    for (size_t at = 0; at < data.size(); at += 1'000'003) {
      ASSERT_TRUE(
          writer->append(bytes_of(data).subspan(at, std::min<size_t>(1'000'003, data.size() - at)))
              .ok());
    }
    ASSERT_TRUE(writer->begin_chunk("tail").ok());
    ASSERT_TRUE(writer->append(bytes_of("tail")).ok());
    ASSERT_TRUE(writer->commit().ok());

    const auto reader = ArtifactReader::open(path_, "test");
    ASSERT_TRUE(reader.ok()) << reader.error().message;
    std::string streamed;
    size_t largest = 0;
    const auto done = reader->stream("data", [&](std::span<const std::byte> piece) -> Result<void> {
      streamed.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      largest = std::max(largest, piece.size());
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_TRUE(streamed == data);
    EXPECT_LE(largest, kArtifactPieceBytes);
    EXPECT_EQ(text_of(*reader->read("tail", 4)), "tail");
  }
}

// Two chunks that come in turn, one of more than a piece, among others that come at once.
TEST_F(Artifact, ChunksThatHaveRoomComeInAnyOrder) {
  std::string long_text(kArtifactPieceBytes + 12345, '\0');
  for (size_t i = 0; i < long_text.size(); ++i)
    long_text[i] = static_cast<char>(i * 2654435761u >> 13);
  const std::string short_text(1000, 's');
  const auto put = [](ArtifactWriter& writer, const char* name, const std::string& text) {
    ASSERT_TRUE(writer.begin_chunk(name).ok());
    ASSERT_TRUE(writer.append(bytes_of(text)).ok());
  };
  {
    auto writer = ArtifactWriter::create(path_, {.kind = "test", .key = ""});
    put(*writer, "first", "first");
    put(*writer, "long", long_text);
    put(*writer, "empty", "");
    put(*writer, "short", short_text);
    put(*writer, "last", "last");
    ASSERT_TRUE(writer->commit().ok());
  }
  const std::string in_order = content();
  auto writer = ArtifactWriter::create(path_, {.kind = "test", .key = ""});
  put(*writer, "first", "first");
  const size_t long_chunk = writer->reserve_chunk("long", long_text.size()).value();
  ASSERT_TRUE(writer->reserve_chunk("empty", 0).ok());
  const size_t short_chunk = writer->reserve_chunk("short", short_text.size()).value();
  constexpr size_t kTurns = 10;
  const size_t some = long_text.size() / kTurns;
  for (size_t turn = 0; turn < kTurns; ++turn) {
    ASSERT_TRUE(writer->fill(short_chunk, bytes_of(short_text).subspan(turn * 100, 100)).ok());
    const auto rest = bytes_of(long_text).subspan(turn * some);
    ASSERT_TRUE(writer->fill(long_chunk, turn + 1 < kTurns ? rest.first(some) : rest).ok());
    if (turn == 5) put(*writer, "last", "last");
  }
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_TRUE(content() == in_order);
}

TEST_F(Artifact, AnErrorOfTheReceiverEndsTheStream) {
  ASSERT_TRUE(write(path_).ok());
  const auto reader = ArtifactReader::open(path_, "test");
  const auto done = reader->stream(
      "text", [](std::span<const std::byte>) -> Result<void> { return usage_error("enough"); });
  EXPECT_EQ(done.error().message, "enough");
}

TEST_F(Artifact, EveryFlippedBitIsAnError) {
  ASSERT_TRUE(write(path_).ok());
  const std::string good = content();
  ASSERT_TRUE(read_all(good).ok());
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      const auto read = read_all(bad);
      ASSERT_FALSE(read.ok()) << "byte " << at << ", bit " << bit;
      EXPECT_EQ(read.error().kind, ErrorKind::runtime);
      EXPECT_EQ(read.error().message.substr(0, 3), "a: ");
    }
  }
}

TEST_F(Artifact, EveryOtherLengthIsAnError) {
  ASSERT_TRUE(write(path_).ok());
  const std::string good = content();
  for (size_t length = 0; length < good.size(); ++length)
    ASSERT_FALSE(read_all(good.substr(0, length)).ok()) << length;
  EXPECT_FALSE(read_all(good + '\0').ok());
  EXPECT_FALSE(read_all(good + good).ok());
}

TEST_F(Artifact, AnotherKindVersionOrFormatIsSaid) {
  ASSERT_TRUE(write(path_).ok());
  EXPECT_THAT(ArtifactReader::open(path_, "session").error().message,
              HasSubstr("holds a test, not a session"));
  std::string newer = content();
  newer[8] = 2;
  EXPECT_THAT(read_all(newer).error().message, HasSubstr("version 2"));
  EXPECT_THAT(read_all(std::string(100, 'x')).error().message, HasSubstr("not a file"));
  EXPECT_THAT(ArtifactReader::open(folder_.path(), "test").error().message,
              HasSubstr(folder_.path()));
  EXPECT_THAT(ArtifactReader::open(path_ + "b", "test").error().message, HasSubstr("No such file"));
}

// What may be replaced: see is_artifact().
TEST_F(Artifact, IsRecognisedWhenItIsDamaged) {
  ASSERT_TRUE(write(path_).ok());
  const std::string good = content();
  const auto recognised = [this](const std::string& bytes, const char* kind = "test") {
    std::ofstream(path_, std::ios::binary) << bytes;
    return is_artifact(path_, kind);
  };
  EXPECT_TRUE(recognised(good));
  EXPECT_FALSE(recognised(good, "session"));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_EQ(recognised(bad), at >= 12) << at;  // magic and version
  }
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_EQ(recognised(good.substr(0, length)), length >= 12) << length;
  EXPECT_FALSE(is_artifact(folder_.path(), "test"));
  EXPECT_FALSE(is_artifact(folder_.file("none"), "test"));
}

// A table with a checksum that agrees may still say anything.
TEST_F(Artifact, ATableThatContradictsTheFileIsAnError) {
  namespace layout = artifact_layout;
  const auto file_with = [](const layout::Table& table, uint64_t data_bytes) {
    const Bytes bytes = layout::encode(table);
    const uint64_t table_offset = layout::kHeaderBytes + data_bytes;
    const auto header = layout::encode(layout::Header{.table_offset = table_offset,
                                                      .table_bytes = bytes.size(),
                                                      .table_hash = layout::hash(bytes),
                                                      .file_bytes = table_offset + bytes.size()});
    return text_of(Bytes(header.begin(), header.end())) + std::string(data_bytes, '\0') +
           text_of(bytes);
  };
  const uint64_t zeros = layout::hash(Bytes(64));
  const auto chunk = [zeros](const char* name, uint64_t offset, uint64_t bytes) {
    return ArtifactChunk{.name = name, .offset = offset, .bytes = bytes, .hashes = {zeros}};
  };
  const ArtifactId id = {.kind = "test", .key = ""};
  EXPECT_TRUE(read_all(file_with({id, {chunk("a", 64, 64)}}, 64)).ok());
  const std::vector<std::vector<ArtifactChunk>> wrong = {
      {},                                         // does not cover the data
      {chunk("a", 0, 64)},                        // within the header
      {chunk("a", 128, 64)},                      // beyond
      {chunk("a", 64, 65)},                       // longer than what is there
      {chunk("a", 64, UINT64_MAX)},               // more pieces than a table holds
      {chunk("a", 64, 64), chunk("b", 64, 64)},   // overlapping
      {chunk("a", 64, 64), chunk("b", 128, 64)},  // beyond
  };
  for (const auto& chunks : wrong) EXPECT_FALSE(read_all(file_with({id, chunks}, 64)).ok());
  EXPECT_FALSE(read_all(file_with({id, {chunk("a", 64, 64), chunk("a", 128, 64)}}, 128)).ok());
}

TEST_F(Artifact, WithoutCommitNothingChanges) {
  ASSERT_TRUE(write(path_, "old").ok());
  {
    auto writer = ArtifactWriter::create(path_, {.kind = "test", .key = "new"});
    ASSERT_TRUE(writer->begin_chunk("text").ok());
    ASSERT_TRUE(writer->append(bytes_of("lost")).ok());
  }
  EXPECT_EQ(ArtifactReader::open(path_, "test")->key(), "old");
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
}

TEST_F(Artifact, OneWriterAtATime) {
  const auto first = ArtifactWriter::create(path_, {.kind = "test", .key = "first"});
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(write(path_).error().message, HasSubstr("another process is writing it"));
}

TEST_F(Artifact, LinksAreFollowedAndOtherThingsRefused) {
  ASSERT_TRUE(write(folder_.file("real"), "old").ok());
  fs::create_symlink("real", path_);
  ASSERT_TRUE(write(path_, "new").ok());
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(ArtifactReader::open(folder_.file("real"), "test")->key(), "new");
  EXPECT_THAT(write("/dev/full").error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(write(folder_.path()).error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(write(folder_.file("none/a")).error().message, HasSubstr("No such file"));
  EXPECT_EQ(::mkfifo(folder_.file("fifo").c_str(), 0600), 0);
  EXPECT_THAT(write(folder_.file("fifo")).error().message, HasSubstr("not a regular file"));
}

TEST_F(Artifact, AFullDiskIsAnErrorAndTheOldFileStays) {
  ASSERT_TRUE(write(path_, "old").ok());
  const std::string old = content();
  for (int64_t room = 0; room < std::ssize(old); room += 37) {
    const auto written = [&] {
      const FaultyDisk disk({.room = room});
      return write(path_, "new");
    }();
    ASSERT_FALSE(written.ok()) << room;
    EXPECT_THAT(written.error().message, StartsWith(path_ + ": No space left"));
    EXPECT_EQ(content(), old);
    EXPECT_EQ(files(), std::vector<std::string>{"a"});
  }
}

TEST_F(Artifact, WhateverCallFailsOrEndsTheWriterTheFileIsTheOldOneOrTheNew) {
  ASSERT_TRUE(write(path_, "new").ok());
  const std::string whole = content();
  const int64_t calls = [&] {
    const FaultyDisk disk;
    EXPECT_TRUE(write(path_, "new").ok());
    return disk.calls();
  }();
  ASSERT_GT(calls, 8);
  ASSERT_TRUE(write(path_, "old").ok());
  const std::string old = content();
  for (int64_t call = 0; call < calls; ++call) {
    const bool written = [&] {
      const FaultyDisk disk({.fail_at = call});
      return write(path_, "new").ok();
    }();
    EXPECT_EQ(content(), written ? whole : old) << call;
    EXPECT_EQ(files(), std::vector<std::string>{"a"});
    ASSERT_TRUE(write(path_, "old").ok());

    ASSERT_EQ(run_killed_at(call, [&] { return write(path_, "new").ok(); }), Ended::killed);
    EXPECT_TRUE(content() == old || content() == whole) << call;
    ASSERT_TRUE(write(path_, "old").ok());
    EXPECT_EQ(files(), std::vector<std::string>{"a"});
  }
}

}  // namespace
}  // namespace dunlin

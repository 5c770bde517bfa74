// What a writer copies: operator new of this binary notes the largest block.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "artifact/writer.h"
#include "support/counted_allocations.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

class ArtifactMemory : public testing::Test {
 protected:
  std::string content(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_.file(name), std::ios::binary).rdbuf();
    return text.str();
  }

  // A chunk of these bytes and a short one, in fills of `step` bytes. The largest block that the fills asked
  // for.
  std::size_t write(const std::string& name, std::span<const std::byte> bytes, size_t step) const {
    auto writer = ArtifactWriter::create(folder_.file(name), {.kind = "test", .key = ""});
    EXPECT_TRUE(writer.ok());
    const size_t chunk = writer->reserve_chunk("long", bytes.size()).value();
    const size_t other = writer->reserve_chunk("short", 64).value();
    largest_block = 0;
    for (size_t at = 0; at < bytes.size(); at += step) {
      const auto part = bytes.subspan(at, std::min(step, bytes.size() - at));
      EXPECT_TRUE(writer->fill(chunk, part).ok());
    }
    EXPECT_TRUE(writer->fill(other, bytes.first(64)).ok());
    const std::size_t largest = largest_block;
    EXPECT_TRUE(writer->commit().ok());
    return largest;
  }

  TemporaryFolder folder_;
};

// As the cache of packed weights writes them.
TEST_F(ArtifactMemory, WholePiecesAndAlignedEndsAreNotCopied) {
  std::vector<std::byte> bytes(2 * kArtifactPieceBytes + 64 * 1001);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  EXPECT_LT(write("pieces", bytes, kArtifactPieceBytes), 64u << 10);
  EXPECT_LT(write("once", bytes, bytes.size()), 64u << 10);
  // Fills that end elsewhere are, and give the same file.
  EXPECT_GT(write("others", bytes, 1'000'003), 1u << 20);
  EXPECT_TRUE(content("pieces") == content("others"));
  EXPECT_TRUE(content("once") == content("others"));
}

// The padding of the last piece counts in its checksum, so it is made in a copy.
TEST_F(ArtifactMemory, AnEndThatNeedsPaddingIsTheSameFile) {
  const std::vector<std::byte> bytes(kArtifactPieceBytes + 100, std::byte{7});
  write("pieces", bytes, kArtifactPieceBytes);
  write("others", bytes, 1'000'003);
  EXPECT_TRUE(content("pieces") == content("others"));
}

}  // namespace
}  // namespace dunlin

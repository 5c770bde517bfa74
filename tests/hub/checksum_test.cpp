// Checksums of known texts (FIPS 180-4's examples; `printf abc | git hash-object --stdin`).
#include "hub/checksum.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

std::string checksum_of(ChecksumKind kind, const std::string& text) {
  auto checksum = Checksum::create(kind, text.size());
  for (const char& c : text) checksum->update(std::as_bytes(std::span(&c, 1)));
  return checksum->finish();
}

TEST(Checksum, IsThatOfTheStandard) {
  EXPECT_EQ(checksum_of(ChecksumKind::sha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(checksum_of(ChecksumKind::sha256, ""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Checksum, OfGitIsThatOfTheBlob) {
  EXPECT_EQ(checksum_of(ChecksumKind::git_sha1, "abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
  EXPECT_EQ(checksum_of(ChecksumKind::git_sha1, ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST(Checksum, KindIsSeenFromTheDigits) {
  EXPECT_EQ(checksum_kind(std::string(64, 'a')), ChecksumKind::sha256);
  EXPECT_EQ(checksum_kind(std::string(40, '0')), ChecksumKind::git_sha1);
  for (const std::string& none : {std::string(), std::string(41, 'a'), std::string(64, 'A'),
                                  std::string(39, 'a') + "g", "../" + std::string(37, 'a')}) {
    EXPECT_EQ(checksum_kind(none), std::nullopt) << none;
  }
}

}  // namespace
}  // namespace dunlin

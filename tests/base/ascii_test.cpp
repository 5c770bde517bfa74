// Letters in the other case: ASCII's alone, whatever else the bytes are.
#include "base/ascii.h"

#include <gtest/gtest.h>

#include <string>

namespace dunlin {
namespace {

const std::string kLower = "abcdefghijklmnopqrstuvwxyz";
const std::string kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

std::string others() {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (kLower.find(c) == std::string::npos && kUpper.find(c) == std::string::npos) bytes += c;
  }
  return bytes;
}

TEST(Ascii, LettersHaveAnotherCase) {
  EXPECT_EQ(ascii_lower(kUpper), kLower);
  EXPECT_EQ(ascii_upper(kLower), kUpper);
  EXPECT_EQ(ascii_lower(kLower), kLower);
  EXPECT_EQ(ascii_upper(kUpper), kUpper);
  EXPECT_EQ(ascii_lower("TPU-v5E"), "tpu-v5e");
  EXPECT_EQ(ascii_lower(""), "");
}

TEST(Ascii, EveryOtherByteStays) {
  const std::string bytes = others();
  ASSERT_EQ(bytes.size(), 204u);
  EXPECT_EQ(ascii_lower(bytes), bytes);
  EXPECT_EQ(ascii_upper(bytes), bytes);
  EXPECT_EQ(ascii_lower("\u00c4"), "\u00c4");  // A with two dots, two bytes of UTF-8
  EXPECT_EQ(ascii_upper("\u00e4"), "\u00e4");
}

TEST(Ascii, SameLettersAreEqualInAnyCase) {
  EXPECT_TRUE(same_letters("", ""));
  EXPECT_TRUE(same_letters("Content-Length", "content-LENGTH"));
  EXPECT_FALSE(same_letters("content-length", "content-lengt"));
  EXPECT_FALSE(same_letters("a", "b"));
  EXPECT_FALSE(same_letters("\u00c4", "\u00e4"));
  // 32 apart, as two cases of a letter are, but no letters.
  EXPECT_FALSE(same_letters("@[", "`{"));
}

}  // namespace
}  // namespace dunlin

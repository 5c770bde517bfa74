// UnicodeClasses: every code point has the classes that the reference's regular expressions give
// it.
#include "tokenizer/unicode_classes.h"

#include <gtest/gtest.h>

#include "golden_data.h"

namespace dunlin {
namespace {

void expect_class(uint8_t bit, const std::string& pattern) {
  std::vector<bool> expected(0x110000);
  const auto golden = load_golden_json("unicode_classes.json");
  for (const auto& range : golden[pattern]) {
    for (size_t c = range[0]; c <= range[1]; ++c) expected[c] = true;
  }
  const UnicodeClasses& classes = UnicodeClasses::instance();
  for (char32_t c = 0; c < 0x110000; ++c) {
    ASSERT_EQ((classes.of(c) & bit) != 0, expected[c])
        << pattern << " U+" << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(UnicodeClasses, Letters) {
  expect_class(kLetter, "\\p{L}");
}
TEST(UnicodeClasses, Numbers) {
  expect_class(kNumber, "\\p{N}");
}
TEST(UnicodeClasses, Spaces) {
  expect_class(kSpace, "\\s");
}

TEST(UnicodeClasses, PartsOfWords) {
  expect_class(kUpperPart, "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]");
  expect_class(kLowerPart, "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]");
}

TEST(UnicodeClasses, NewlinesAreCarriageReturnAndLineFeed) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  for (char32_t c = 0; c < 0x110000; ++c)
    EXPECT_EQ((classes.of(c) & kNewline) != 0, c == '\r' || c == '\n');
}

}  // namespace
}  // namespace dunlin

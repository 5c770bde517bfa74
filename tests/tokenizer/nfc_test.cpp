// NFC: examples of Unicode Standard Annex 15 and its stability.
#include "tokenizer/nfc.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

TEST(Nfc, ComposesOrdersAndKeepsExclusions) {
  EXPECT_EQ(to_nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(to_nfc("a\u0301\u0323"), "\u1EA1\u0301");  // marks are ordered first
  EXPECT_EQ(to_nfc("D\u0307\u0323"), "\u1E0C\u0307");
  EXPECT_EQ(to_nfc("\u1100\u1161\u11A8"), "\uAC01");  // Hangul by arithmetic
  EXPECT_EQ(to_nfc("\uAC00\u11A8"), "\uAC01");
  EXPECT_EQ(to_nfc("\u212B"), "\u00C5");        // a singleton
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093C");  // a composition exclusion
  EXPECT_EQ(to_nfc("\uFB01"), "\uFB01");        // compatibility characters stay
  EXPECT_EQ(to_nfc("plain ASCII"), "plain ASCII");
  EXPECT_EQ(to_nfc(""), "");
}

// NFC of the whole text at once, by utf8proc.
std::string whole_nfc(const std::string& text) {
  utf8proc_uint8_t* whole = utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str()));
  const std::string result = reinterpret_cast<const char*>(whole);
  std::free(whole);
  return result;
}

TEST(Nfc, QuickCheckNeverMissesAChange) {
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(c, text);
    const std::string nfc = whole_nfc(text);
    ASSERT_EQ(to_nfc(text), nfc) << std::hex << static_cast<uint32_t>(c);
    ASSERT_TRUE(nfc == text || !is_surely_nfc(text)) << std::hex << static_cast<uint32_t>(c);
  }
}

// Only what stands between normalisation boundaries is normalised; the result is that of
// normalising the whole.
TEST(Nfc, EqualsNormalisingTheWholeText) {
  const char32_t alphabet[] = {'a',    'e',   'D',    ' ',    0x301,   0x323,  0x307,
                               0x344,  0xE9,  0x1E0B, 0x1100, 0x1161,  0x11A8, 0xAC00,
                               0x212B, 0x915, 0x93C,  0x958,  0xCC6,   0xCC2,  0xCD5,
                               0x9C7,  0x9BE, 0x338,  '<',    0x1D15E, 0x2ADC};
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t length = random() % 12; length > 0; --length)
      append_utf8(alphabet[random() % std::size(alphabet)], text);
    EXPECT_EQ(to_nfc(text), whole_nfc(text)) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace dunlin

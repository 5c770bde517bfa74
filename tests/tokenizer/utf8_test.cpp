// UTF-8: replacement of maximal invalid subparts.
#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace dunlin {
namespace {

std::string valid(std::string_view bytes) {
  std::string out;
  append_valid_utf8(bytes, out);
  EXPECT_TRUE(is_valid_utf8(out));
  EXPECT_EQ(is_valid_utf8(bytes), out == bytes);
  return out;
}

#define REPLACEMENT "\uFFFD"

TEST(Utf8, ReplacesMaximalSubparts) {
  EXPECT_EQ(valid(""), "");
  EXPECT_EQ(valid("a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80"), "aé你😀");
  // Unicode 15.0, tables 3-8 to 3-11.
  EXPECT_EQ(valid("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT
                REPLACEMENT REPLACEMENT "A");
  EXPECT_EQ(valid("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT
                REPLACEMENT REPLACEMENT "A");
  EXPECT_EQ(valid("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT "A" REPLACEMENT REPLACEMENT
                                                                        "B");
  EXPECT_EQ(valid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT "A");
  EXPECT_EQ(valid("12345678\xC3"), "12345678" REPLACEMENT);
}

TEST(Utf8, ReadsAndWritesEveryCodePoint) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(c, text);
    ASSERT_TRUE(is_valid_utf8(text));
    const CodePoint read = read_code_point(text.data());
    ASSERT_EQ(read.value, c);
    ASSERT_EQ(read.length, text.size());
  }
}

}  // namespace
}  // namespace dunlin

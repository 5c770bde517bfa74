// 26,000 and a million equal characters of any class: no recursion, no quadratic time. Each case takes
// about a second at most in an optimised build; a quadratic method needs hours, and ctest ends it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "golden_data.h"

namespace dunlin {
namespace {

// About where std::regex, which recurses for each, runs out of stack.
constexpr size_t kFew = 26'000;
constexpr size_t kMany = 1'000'000;

// Of UTF-8; a byte that begins none and follows none counts as one.
size_t characters_of(std::string_view unit) {
  const auto count = std::ranges::count_if(
      unit, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
  return std::max<size_t>(1, static_cast<size_t>(count));
}

std::string repeated(std::string_view unit, size_t count) {
  std::string text;
  text.reserve(unit.size() * count);
  for (size_t i = 0; i < count; ++i) text += unit;
  return text;
}

struct LongText {
  std::string name;
  std::string unit;
};

class LongTextTest : public testing::TestWithParam<std::tuple<std::string, LongText, size_t>> {};

const LongText kTexts[] = {{"letters", "a"},
                           {"capitals", "A"},
                           {"capitals_and_marks", "A\u0301"},
                           {"cjk", "\u4F60"},
                           {"dots", "."},
                           {"spaces", " "},
                           {"tabs", "\t"},
                           {"newlines", "\n"},
                           {"lines", " \n"},
                           {"digits", "1"},
                           {"combining_marks", "\u0301"},
                           {"marks_in_wrong_order", "\u0301\u0323"},
                           {"decomposed_letters", "e\u0301"},
                           {"hangul_jamo", "\u1100\u1161"},
                           {"emoji_with_joiners", "\U0001F468\u200D"},
                           {"apostrophes", "'"},
                           {"contractions", "'S"},
                           {"slashes", "/"},
                           {"token_beginnings", "<|"},
                           {"continuation_bytes", "\x80"},
                           {"lead_bytes", "\xF0\x9F"}};

INSTANTIATE_TEST_SUITE_P(All, LongTextTest,
                         testing::Combine(testing::ValuesIn(kSmallTokenizers),
                                          testing::ValuesIn(kTexts), testing::Values(kFew, kMany)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param).name +
                                  "_" + std::to_string(std::get<2>(test.param));
                         });

TEST_P(LongTextTest, IsEncoded) {
  const auto& [name, text, characters] = GetParam();
  const auto tokenizer = small_tokenizer(name);
  const std::string bytes = repeated(text.unit, characters / characters_of(text.unit));
  const auto ids = encode(*tokenizer, bytes);
  EXPECT_GE(ids.size(), bytes.size() / 200);
  EXPECT_LE(ids.size(), 3 * bytes.size());  // an invalid byte becomes three
}

TEST(LongText, AMillionSpecialTokens) {
  const auto tokenizer = small_tokenizer("small_llama3");
  const int32_t id = tokenizer->id_of("<|end|>").value();
  EXPECT_EQ(encode(*tokenizer, repeated("<|end|>", kMany)), std::vector<int32_t>(kMany, id));
}

}  // namespace
}  // namespace dunlin

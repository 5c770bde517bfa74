// The splitters written by hand against PCRE2 with the published patterns, on random strings of every
// class of characters.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tokenizer/splitters/pattern_splitter.h"
#include "tokenizer/splitters/splitter.h"
#include "tokenizer/unicode_classes.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

// Code points by class byte, so that each class comes as often as any other. What PCRE2's Unicode 14
// holds for unassigned and our newer tables know is left out.
std::vector<std::vector<char32_t>> code_points_by_class() {
  const Pattern unassigned = Pattern::from_oniguruma("\\p{Cn}").value();
  PatternSearch search(4 * 0x110000);
  std::array<std::vector<char32_t>, 256> by_class;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const uint8_t classes = UnicodeClasses::instance().of(c) & static_cast<uint8_t>(~kNfcInert);
    std::string text;
    append_utf8(c, text);
    if (classes != 0 && search.find(unassigned, text, 0).value()) continue;
    by_class[classes].push_back(c);
  }
  std::vector<std::vector<char32_t>> result;
  for (auto& code_points : by_class) {
    if (!code_points.empty()) result.push_back(std::move(code_points));
  }
  return result;
}

class RandomText {
 public:
  std::string operator()() {
    static constexpr std::string_view kSpecial[] = {"'s",     "'S", "'ll", "'RE",   "'\u017F", "'",
                                                    " ",      "\n", "\r",  "/",     "  ",      "1",
                                                    "\u0301", "a",  "A",   "\u4F60"};
    std::string text;
    const size_t length = random_() % 24;
    for (size_t i = 0; i < length; ++i) {
      switch (random_() % 4) {
        case 0:
          text += kSpecial[random_() % std::size(kSpecial)];
          break;
        case 1:
          append_utf8(random_() % 0x80, text);
          break;
        default: {
          const auto& code_points = classes_[random_() % classes_.size()];
          append_utf8(code_points[random_() % code_points.size()], text);
        }
      }
    }
    return text;
  }

 private:
  std::mt19937 random_{5};
  std::vector<std::vector<char32_t>> classes_ = code_points_by_class();
};

PatternSplitter oracle(const Splitter& splitter) {
  std::vector<PatternStep> steps;
  const auto add = [&steps](std::string_view pattern) {
    PatternStep step;
    step.pattern = Pattern::from_oniguruma(pattern).value();
    steps.push_back(std::move(step));
  };
  if (!splitter.pattern.empty()) add(splitter.pattern);
  if (splitter.isolates_numbers) add("\\p{N}");
  // As in the file of GPT-2, openai/gpt-2 src/encoder.py.
  if (splitter.then_gpt2)
    add("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");
  return PatternSplitter(std::move(steps));
}

std::vector<std::string> texts_of(std::string_view text, std::span<const Piece> pieces) {
  std::vector<std::string> result;
  for (const Piece& piece : pieces)
    result.emplace_back(text.substr(piece.begin, piece.end - piece.begin));
  return result;
}

class SplitterOracle : public testing::TestWithParam<const Splitter*> {};
INSTANTIATE_TEST_SUITE_P(All, SplitterOracle,
                         testing::Values(&kLlama3Splitter, &kQwen2Splitter, &kO200kSplitter,
                                         &kGpt2Splitter, &kSmolLm2Splitter),
                         [](const auto& test) {
                           std::string name(test.param->name);
                           std::erase_if(name, [](char c) { return c == ' ' || c == '-'; });
                           return name;
                         });

TEST_P(SplitterOracle, PiecesEqualThoseOfThePattern) {
  const PatternSplitter by_pattern = oracle(*GetParam());
  RandomText random_text;
  std::vector<Piece> pieces(200);
  for (int round = 0; round < 40'000; ++round) {
    const std::string text = random_text();
    const size_t count = text.empty() ? 0 : GetParam()->split(text, pieces);
    const auto expected = texts_of(text, by_pattern.split(text).value());
    ASSERT_EQ(texts_of(text, {pieces.data(), count}), expected) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace dunlin

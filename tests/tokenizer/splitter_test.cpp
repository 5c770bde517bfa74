// Splitters: pieces equal those of the reference's regular expressions.
#include "tokenizer/splitters/splitter.h"

#include <gtest/gtest.h>

#include <array>

#include "golden_data.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

// Pieces come in portions; a small one tests that the next goes on where it ended.
std::vector<size_t> piece_lengths(const Splitter& splitter, std::string_view text) {
  std::array<Piece, 3> pieces;
  std::vector<size_t> lengths;
  while (!text.empty()) {
    const size_t count = splitter.split(text, pieces);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(pieces[i].begin, i == 0 ? 0 : pieces[i - 1].end);
      lengths.push_back(pieces[i].end - pieces[i].begin);
    }
    text.remove_prefix(pieces[count - 1].end);
  }
  return lengths;
}

void expect_golden_pieces(const Splitter& splitter, const std::string& name) {
  const auto golden = load_golden_json(name + ".ids.json")["pieces"];
  const std::vector<std::string>& texts = corpus();
  ASSERT_EQ(golden.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string valid;
    append_valid_utf8(texts[i], valid);
    EXPECT_EQ(piece_lengths(splitter, valid), golden[i].get<std::vector<size_t>>())
        << name << ": " << testing::PrintToString(valid);
  }
}

TEST(Splitter, Llama3) {
  expect_golden_pieces(kLlama3Splitter, "small_llama3");
}
TEST(Splitter, O200k) {
  expect_golden_pieces(kO200kSplitter, "small_o200k");
}
TEST(Splitter, Qwen2) {
  expect_golden_pieces(kQwen2Splitter, "small_qwen2");
}
TEST(Splitter, Gpt2) {
  expect_golden_pieces(kGpt2Splitter, "small_gpt2");
}
TEST(Splitter, SmolLm2) {
  expect_golden_pieces(kSmolLm2Splitter, "small_smollm2");
}

std::vector<std::string> pieces(const Splitter& splitter, std::string_view text) {
  std::vector<std::string> result;
  for (const size_t length : piece_lengths(splitter, text)) {
    result.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return result;
}

using Pieces = std::vector<std::string>;

TEST(Splitter, DigitsDistinguishTheFamilies) {
  const std::string text = "a  1234";
  EXPECT_EQ(pieces(kLlama3Splitter, text), (Pieces{"a", " ", " ", "123", "4"}));
  EXPECT_EQ(pieces(kQwen2Splitter, text), (Pieces{"a", " ", " ", "1", "2", "3", "4"}));
  EXPECT_EQ(pieces(kGpt2Splitter, text), (Pieces{"a", " ", " 1234"}));
  EXPECT_EQ(pieces(kSmolLm2Splitter, text), (Pieces{"a", "  ", "1", "2", "3", "4"}));
}

TEST(Splitter, O200kCutsWordsByCase) {
  const std::pair<std::string, Pieces> cases[] = {
      {"HELLOworld", {"HELLOworld"}},   {" HelloWorld", {" Hello", "World"}},
      {"IOError's", {"IOError's"}},     {"helloWORLD'LL", {"hello", "WORLD'LL"}},
      {"A\u4F60B", {"A\u4F60", "B"}},  // the ideograph may end a word, and what is behind begins one
      {"\u0301ABC", {"\u0301", "ABC"}},  // a mark that leaves no small letter behind is a word itself
      {"\u0301abc", {"\u0301abc"}},     {"a//\n/b", {"a", "//\n/", "b"}},
      {"12345", {"123", "45"}},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(pieces(kO200kSplitter, text), expected);
}

TEST(Splitter, LongSIsAContractionOnlyWhereCaseIsIgnored) {
  EXPECT_EQ(pieces(kLlama3Splitter, "a'\u017Fb"), (Pieces{"a", "'\u017F", "b"}));
  EXPECT_EQ(pieces(kGpt2Splitter, "a'\u017Fb"), (Pieces{"a", "'", "\u017Fb"}));
}

}  // namespace
}  // namespace dunlin

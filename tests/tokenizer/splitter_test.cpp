// Splitters: pieces equal those of the reference's regular expressions.
#include "tokenizer/splitters/splitter.h"

#include <gtest/gtest.h>

#include "golden_data.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

std::vector<size_t> piece_lengths(const Splitter& splitter, std::string_view text) {
  std::vector<size_t> lengths;
  while (!text.empty()) {
    lengths.push_back(splitter.first_piece(text));
    text.remove_prefix(lengths.back());
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

TEST(Splitter, LongSIsAContractionOnlyWhereCaseIsIgnored) {
  EXPECT_EQ(pieces(kLlama3Splitter, "a'\u017Fb"), (Pieces{"a", "'\u017F", "b"}));
  EXPECT_EQ(pieces(kGpt2Splitter, "a'\u017Fb"), (Pieces{"a", "'", "\u017Fb"}));
}

}  // namespace
}  // namespace dunlin

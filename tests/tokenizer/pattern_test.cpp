// Pre-tokenizers of patterns: pieces equal those of the `tokenizers` package, and hostile patterns end in
// an error.
#include "tokenizer/splitters/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_data.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/splitters/pattern_splitter.h"
#include "tokenizer/splitters/pattern_syntax.h"
#include "tokenizer/tokenizer_json_pre_tokenizer.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::vector<std::string> split(const TokenizerParts& parts, std::string text) {
  if (parts.adds_prefix_space && !text.empty() && !text.starts_with(' '))
    text.insert(text.begin(), ' ');
  std::vector<Piece> pieces;
  if (parts.splitter != nullptr) {
    pieces.resize(text.size());
    if (!text.empty()) pieces.resize(parts.splitter->split(text, pieces));
  } else {
    pieces = parts.pattern_splitter->split(text).value();
  }
  std::vector<std::string> result;
  for (const Piece& piece : pieces)
    result.push_back(text.substr(piece.begin, piece.end - piece.begin));
  return result;
}

TEST(Pattern, PiecesOfOtherPreTokenizersEqualTheReference) {
  for (const json& golden : load_golden_json("pre_tokenizers.json")) {
    SCOPED_TRACE(golden["name"]);
    TokenizerParts parts;
    const auto read = read_pre_tokenizer({{"pre_tokenizer", golden["pre_tokenizer"]}}, parts);
    ASSERT_TRUE(read.ok()) << read.error().message;
    for (size_t i = 0; i < golden["pieces"].size(); ++i) {
      if (golden["pieces"][i].is_null()) continue;
      std::string valid;
      append_valid_utf8(corpus()[2 * i], valid);
      std::vector<size_t> lengths;
      std::string together;
      for (const std::string& piece : split(parts, valid)) {
        lengths.push_back(piece.size());
        together += piece;
      }
      EXPECT_EQ(lengths, golden["pieces"][i].get<std::vector<size_t>>())
          << testing::PrintToString(valid);
      const auto kept = golden["kept"].find(std::to_string(i));
      EXPECT_EQ(together, kept == golden["kept"].end() ? valid : bytes_of_hex(*kept));
    }
  }
}

Result<std::vector<Piece>> split_by(std::string_view pattern, std::string_view text) {
  std::vector<PatternStep> steps(1);
  steps[0].pattern = Pattern::from_oniguruma(pattern).value();
  return PatternSplitter(std::move(steps)).split(text);
}

TEST(Pattern, HostilePatternsAreErrors) {
  const std::string text = std::string(1'000'000, 'a') + "!";
  for (const char* pattern : {"(a+)+$", "(a|aa)+$", "(a*)*b", "(?:a+){2,}b", "([a-z]+)*\\z"}) {
    const auto pieces = split_by(pattern, text);
    ASSERT_FALSE(pieces.ok()) << pattern;
    EXPECT_EQ(pieces.error().kind, ErrorKind::model);
    EXPECT_THAT(pieces.error().message, HasSubstr("step 1: the pattern "));
  }
}

// Every start scans to the end, which no count of PCRE2 sees.
TEST(Pattern, TimeIsBounded) {
  const auto pieces = split_by("(?=a*[bc])[ab]", std::string(300'000, 'a'));
  ASSERT_FALSE(pieces.ok());
  EXPECT_THAT(pieces.error().message, HasSubstr("step 1: the pattern takes too long on this text"));
}

TEST(Pattern, LongRunsAreNoProblem) {
  for (const char* unit : {"a", "A", " ", "\n", "1", ".", "\u4F60", "\u0301", "\U0001F600"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    for (const Splitter* family : {&kLlama3Splitter, &kO200kSplitter, &kQwen2Splitter}) {
      const auto pieces = split_by(family->pattern, text);
      ASSERT_TRUE(pieces.ok()) << family->name << ": " << pieces.error().message;
      EXPECT_EQ(pieces->back().end, text.size());
    }
  }
}

TEST(Pattern, PatternsThatAreTooLargeAreErrors) {
  for (const std::string& pattern : {std::string("(?:(?:(?:a{1000}){1000}){1000})"),
                                     std::string(60'000, '('), std::string(60'000, '[')}) {
    const auto compiled = Pattern::from_oniguruma(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern.substr(0, 40);
    EXPECT_EQ(compiled.error().kind, ErrorKind::model);
  }
}

TEST(Pattern, SyntaxThatMeansSomethingElseIsRefused) {
  for (const char* pattern :
       {"\\h",    "\\R",     "\\X",         "\\K",     "\\G",       "\\1",
        "\\k<a>", "\\g<1>",  "\\N{DASH}",   "\\xe9",   "\\x{d800}", "\\x{110000}",
        "\\x{}",  "\\u12",   "\\p",         "\\p{}",   "\\p{L",     "\\p{In_Basic_Latin}",
        "(?m)a",  "(?<n>a)", "(?#c)",       "(?(1)a)", "a{2}?",     "[a-\\d]",
        "[b-a]",  "[a-[b]]", "[[:space:]]", "\\"}) {
    EXPECT_FALSE(translate_pattern(pattern).ok()) << pattern;
  }
}

TEST(Pattern, QuotedTextMatchesItself) {
  const std::string text = "a.b*[c]\\d{2}(\u4F60)^$|+?#-\n\x01";
  const Pattern pattern = Pattern::from_pcre2(quote_pattern(text)).value();
  PatternSearch search(100);
  const auto found = search.find(pattern, "xx" + text + "yy", 0).value();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->begin, 2u);
  EXPECT_EQ(found->end, 2 + text.size());
  EXPECT_FALSE(search.find(pattern, "aXb*[c]", 0).value().has_value());
}

}  // namespace
}  // namespace dunlin

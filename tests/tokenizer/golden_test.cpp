// Ids equal those of the `tokenizers` package: always for the small tokenizers, and for published
// vocabularies where DUNLIN_TEST_DATA names a folder that has them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "golden_data.h"

namespace dunlin {
namespace {

class SmallTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, SmallTokenizer, testing::ValuesIn(kSmallTokenizers),
                         [](const auto& test) { return test.param; });

TEST_P(SmallTokenizer, IdsEqualTheReference) {
  expect_golden_ids(*small_tokenizer(GetParam()), GetParam());
}

// The ids are remembered per piece (Tokenizer::WholePiece): a second pass must not differ.
TEST_P(SmallTokenizer, ASecondPassGivesTheSameIds) {
  const auto tokenizer = small_tokenizer(GetParam());
  for (const std::string& text : corpus()) {
    const auto first = encode(*tokenizer, text);
    EXPECT_EQ(encode(*tokenizer, text), first);
  }
}

class PublishedTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, PublishedTokenizer, testing::Values("llama3_1", "qwen2_5", "gptoss"),
                         [](const auto& test) { return test.param; });

// Of a tokenizer's folder in DUNLIN_TEST_DATA.
struct PublishedFolder {
  std::string path = {};
  std::string missing = {};  // why it cannot be used; empty when it can
};

PublishedFolder published_folder(const std::string& name) {
  const char* const data = std::getenv("DUNLIN_TEST_DATA");
  if (data == nullptr) return {.missing = "DUNLIN_TEST_DATA is not set"};
  PublishedFolder folder{.path = std::string(data) + "/tokenizers/" + name};
  const std::string file = folder.path + "/tokenizer.json";
  if (!std::filesystem::exists(file)) folder.missing = file + " is not there";
  return folder;
}

TEST_P(PublishedTokenizer, IdsEqualTheReference) {
  const PublishedFolder folder = published_folder(GetParam());
  if (!folder.missing.empty()) GTEST_SKIP() << folder.missing;
  const auto tokenizer = Tokenizer::from_directory(folder.path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  expect_golden_ids(**tokenizer, GetParam());
}

TEST(PublishedTokenizer, Llama3NamesItsTokens) {
  const PublishedFolder folder = published_folder("llama3_1");
  if (!folder.missing.empty()) GTEST_SKIP() << folder.missing;
  const auto tokenizer = Tokenizer::from_directory(folder.path).value();
  EXPECT_EQ(tokenizer->vocab_size(), 128256);
  EXPECT_EQ(tokenizer->bos_id(), 128000);
  EXPECT_EQ(tokenizer->eos_id(), 128009);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->id_of("<|end_of_text|>"), 128001);
}

TEST(PublishedTokenizer, GptOssNamesItsTokens) {
  const PublishedFolder folder = published_folder("gptoss");
  if (!folder.missing.empty()) GTEST_SKIP() << folder.missing;
  const auto tokenizer = Tokenizer::from_directory(folder.path).value();
  EXPECT_EQ(tokenizer->vocab_size(), 200019);
  EXPECT_EQ(tokenizer->eos_id(), 200002);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->id_of("<|channel|>"), 200005);
}

}  // namespace
}  // namespace dunlin

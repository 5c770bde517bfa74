// vocab.json, merges.txt and tokenizer_config.json in place of a tokenizer.json: the same ids, and
// errors that name the file and the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden_data.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class VocabularyFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(golden_path("small_qwen2/tokenizer.json"),
                               folder_.file("tokenizer.json"));
  }

  TemporaryFolder folder_;
};

TEST_F(VocabularyFiles, GiveTheIdsOfATokenizerJson) {
  for (const char* name : {"DreamTokenizer", "Qwen2Tokenizer"}) {
    SCOPED_TRACE(name);
    std::filesystem::copy_file(golden_path("small_qwen2/tokenizer.json"),
                               folder_.file("tokenizer.json"),
                               std::filesystem::copy_options::overwrite_existing);
    write_vocabulary_files(folder_.path(), name);
    const auto tokenizer = Tokenizer::from_directory(folder_.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    expect_golden_ids(**tokenizer, "small_qwen2");
    EXPECT_EQ((*tokenizer)->vocab_size(), small_tokenizer("small_qwen2")->vocab_size());
    EXPECT_EQ((*tokenizer)->id_of("<|im_end|>"), 702);
    EXPECT_TRUE((*tokenizer)->is_special(702));
    EXPECT_FALSE((*tokenizer)->is_special(703));
  }
}

TEST_F(VocabularyFiles, ATokenizerJsonComesFirst) {
  EXPECT_EQ(tokenizer_file(folder_.path()), folder_.file("tokenizer.json"));
  write_vocabulary_files(folder_.path(), "DreamTokenizer");
  EXPECT_EQ(tokenizer_file(folder_.path()), folder_.file("vocab.json"));
  std::filesystem::remove(folder_.file("merges.txt"));
  EXPECT_EQ(tokenizer_file(folder_.path()), "");
}

TEST_F(VocabularyFiles, NeedTheirConfiguration) {
  write_vocabulary_files(folder_.path(), "DreamTokenizer");
  std::filesystem::remove(folder_.file("tokenizer_config.json"));
  const auto tokenizer = Tokenizer::from_directory(folder_.path());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, HasSubstr("tokenizer_config.json"));
}

// Each file is good by itself.
TEST_F(VocabularyFiles, AMergeOfNoTokensNamesItsFile) {
  write_vocabulary_files(folder_.path(), "DreamTokenizer");
  std::ofstream(folder_.file("merges.txt"), std::ios::app) << "zqzq qzqz\n";
  const auto tokenizer = Tokenizer::from_directory(folder_.path());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, StartsWith(folder_.file("merges.txt") + ": merge "));
  EXPECT_THAT(tokenizer.error().message, HasSubstr("is not in the vocabulary"));
}

// small_smollm2 lacks two.
TEST_F(VocabularyFiles, NeedATokenForEveryByteWhereOneStandsForTheUnknown) {
  std::filesystem::copy_file(golden_path("small_smollm2/tokenizer.json"),
                             folder_.file("tokenizer.json"),
                             std::filesystem::copy_options::overwrite_existing);
  write_vocabulary_files(folder_.path(), "DreamTokenizer");
  const auto dropped = Tokenizer::from_directory(folder_.path());
  EXPECT_TRUE(dropped.ok()) << dropped.error().message;
  const std::string path = folder_.file("tokenizer_config.json");
  std::ifstream file(path);
  auto config = nlohmann::json::parse(file);
  config["unk_token"] = "<|endoftext|>";
  std::ofstream(path) << config.dump();
  const auto tokenizer = Tokenizer::from_directory(folder_.path());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, StartsWith(folder_.file("vocab.json") + ": "));
  EXPECT_THAT(tokenizer.error().message, HasSubstr("no token for some bytes"));
}

constexpr const char* kDream =
    R"({"tokenizer_class": "DreamTokenizer", "added_tokens_decoder": {"3": {"content": "<|mask|>", "special": true}}})";

Result<TokenizerParts> parse(const std::string& vocabulary, const std::string& merges,
                             const std::string& config = kDream) {
  return parse_vocab_json({vocabulary, "vocab.json"}, {merges, "merges.txt"},
                          {config, "tokenizer_config.json"});
}

constexpr const char* kThree = R"({"a": 0, "b": 1, "ab": 2})";

TEST(VocabJson, MergesAreLinesBehindAVersion) {
  for (const char* merges : {"#version: 0.2\na b\n", "a b", "a b\r\n\r\n", "\na b \n\n"}) {
    const auto parts = parse(kThree, merges);
    ASSERT_TRUE(parts.ok()) << parts.error().message;
    EXPECT_EQ(parts->merges.size(), 1u);
    EXPECT_EQ(parts->merges[0].merged, "ab");
    EXPECT_EQ(parts->added_id("<|mask|>"), 3);
    EXPECT_TRUE(parts->nfc);
  }
  // Only the first line is a version: # is a letter of the byte alphabet.
  const auto parts = parse(R"({"#": 0, "a": 1, "#a": 2})", "#version: 0.2\n# a\n");
  ASSERT_TRUE(parts.ok()) << parts.error().message;
  EXPECT_EQ(parts->merges[0].merged, "#a");
}

struct WrongFiles {
  std::string vocabulary, merges, config, message;
};

TEST(VocabJson, ErrorsNameFileAndField) {
  const std::vector<WrongFiles> cases = {
      {"[]", "a b", kDream, "vocab.json: "},
      {R"({"a": 0)", "a b", kDream, "vocab.json: not valid JSON"},
      {R"({"a": "0"})", "a b", kDream, "vocab.json: "},
      {R"({"a": 0, "b": 0})", "a b", kDream, "vocab.json: "},
      {R"({"a": 0} {})", "a b", kDream, "vocab.json: "},
      {"{}", "a b", kDream, "vocab.json: no tokens"},
      {kThree, "ab", kDream, "merges.txt: merge 0 is not two tokens"},
      {kThree, "a b\na  b", kDream, "merges.txt: merge 1 is not two tokens"},
      {kThree, "a \xff", kDream, "merges.txt: not UTF-8 at byte 3"},
      {kThree, "a b", "{}", "tokenizer_config.json: tokenizer_class is \"\""},
      {kThree, "a b", R"({"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {}})",
       "tokenizer_config.json: tokenizer_class is \"GPT2Tokenizer\"; without a tokenizer.json "
       "only"},
      {kThree, "a b", R"({"tokenizer_class": "DreamTokenizer"})",
       "tokenizer_config.json: added_tokens_decoder is missing"},
      {kThree, "a b",
       R"({"tokenizer_class": "DreamTokenizer", "added_tokens_decoder": {"1": {"content": "c"}}})",
       "tokenizer_config.json: added_tokens_decoder: the added token \"c\" has the id 1"},
  };
  for (const auto& [vocabulary, merges, config, message] : cases) {
    SCOPED_TRACE(message);
    const auto parts = parse(vocabulary, merges, config);
    ASSERT_FALSE(parts.ok());
    EXPECT_EQ(parts.error().kind, ErrorKind::model);
    EXPECT_THAT(parts.error().message, StartsWith(message));
  }
}

}  // namespace
}  // namespace dunlin

// Texts as ids, and which models can be compared.
#include "eval/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

class CorpusTest : public testing::Test {
 protected:
  void SetUp() override { write_text_model(folder_.path()); }

  std::vector<int32_t> ids(const std::string& text) const {
    return encode_corpus(folder_.path(), text).value().ids;
  }
  void edit_tokenizer(const std::function<void(nlohmann::ordered_json&)>& edit) const {
    auto json = nlohmann::ordered_json::parse(read_all(folder_.file("tokenizer.json")));
    edit(json);
    write_all(folder_.file("tokenizer.json"), json.dump());
  }

  TemporaryFolder folder_;
};

TEST_F(CorpusTest, OneLineFeedAtTheEndIsDropped) {
  EXPECT_EQ(ids("Hello world\n"), ids("Hello world"));
  EXPECT_NE(ids("Hello world\n\n"), ids("Hello world"));
}

TEST_F(CorpusTest, SpecialTokensAreText) {
  const auto corpus = encode_corpus(folder_.path(), "<|im_end|>").value();
  EXPECT_GT(corpus.ids.size(), 1u);
  EXPECT_EQ(corpus.vocabulary, 608);
  EXPECT_FALSE(corpus.bos.has_value());
}

TEST_F(CorpusTest, ATokenizerIsNeeded) {
  const auto corpus = encode_corpus(test_data("data/llama_plain/model"), "text");
  ASSERT_FALSE(corpus.ok());
  EXPECT_EQ(corpus.error().kind, ErrorKind::model);
  EXPECT_THAT(corpus.error().message, HasSubstr("the text needs a tokenizer"));
  EXPECT_THAT(corpus.error().message, HasSubstr("llama_plain"));
}

TEST_F(CorpusTest, AnIdWithoutLogitsIsAnError) {
  edit_tokenizer([](nlohmann::ordered_json& json) {
    auto token = json["added_tokens"][0];
    token["id"] = 608;
    token["content"] = "beyond";
    token["special"] = false;
    json["added_tokens"].push_back(token);
  });
  EXPECT_TRUE(encode_corpus(folder_.path(), "Hello world").ok());
  const auto corpus = encode_corpus(folder_.path(), "Hello beyond");
  ASSERT_FALSE(corpus.ok());
  EXPECT_EQ(corpus.error().kind, ErrorKind::model);
  EXPECT_THAT(corpus.error().message, HasSubstr("gives id 608, the model has 608 logits"));
}

TEST_F(CorpusTest, TheSameVocabularyIsTheSameTokens) {
  EXPECT_TRUE(check_same_vocabulary(folder_.path(), folder_.path()).ok());
  const TemporaryFolder other;
  write_text_model(other.path());
  EXPECT_TRUE(check_same_vocabulary(folder_.path(), other.path()).ok());

  const auto of_another_size =
      check_same_vocabulary(folder_.path(), test_data("data/llama_plain/model"));
  ASSERT_FALSE(of_another_size.ok());
  EXPECT_EQ(of_another_size.error().kind, ErrorKind::usage);
  EXPECT_THAT(of_another_size.error().message, HasSubstr("160 logits"));
  EXPECT_THAT(of_another_size.error().message, HasSubstr("608"));

  // Two tokens change places.
  std::string first, second;
  edit_tokenizer([&](nlohmann::ordered_json& json) {
    for (auto& [token, id] : json["model"]["vocab"].items()) {
      if (id == 100) first = token;
      if (id == 101) second = token;
    }
    json["model"]["vocab"][first] = 101;
    json["model"]["vocab"][second] = 100;
  });
  const auto swapped = check_same_vocabulary(other.path(), folder_.path());
  ASSERT_FALSE(swapped.ok());
  EXPECT_EQ(swapped.error().kind, ErrorKind::usage);
  EXPECT_THAT(swapped.error().message, HasSubstr("token 100 is"));

  // A reference that has no tokenizer is taken at the number of its logits.
  std::filesystem::remove(folder_.file("tokenizer.json"));
  EXPECT_TRUE(check_same_vocabulary(other.path(), folder_.path()).ok());
}

}  // namespace
}  // namespace dunlin

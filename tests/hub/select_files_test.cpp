// Which files are fetched, for repositories as they are.
#include "hub/select_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Names = std::vector<std::string>;

Result<SelectedFiles> select(const std::string& model, const Names& names,
                             const FileChoice& choice = {}) {
  return select_files(*parse_hub_model(model), names, choice);
}

const Names kDirectory = {".gitattributes",
                          "LICENSE",
                          "README.md",
                          "config.json",
                          "consolidated.safetensors",
                          "generation_config.json",
                          "merges.txt",
                          "model.safetensors",
                          "onnx/model.onnx",
                          "original/model.safetensors",
                          "original/tokenizer.model",
                          "pytorch_model.bin",
                          "special_tokens_map.json",
                          "tokenizer.json",
                          "tokenizer_config.json",
                          "vocab.json"};

TEST(SelectFiles, OfADirectoryWhatAModelIsReadFrom) {
  const auto selected = select("o/n", kDirectory);
  ASSERT_TRUE(selected.ok());
  EXPECT_THAT(selected->names,
              ElementsAre("config.json", "generation_config.json", "model.safetensors",
                          "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"));
  EXPECT_EQ(selected->gguf, "");
}

TEST(SelectFiles, AVocabularyIsFetchedWhereThereIsNoTokenizerJson) {
  const Names names = {"added_tokens.json",     "config.json",       "merges.txt",
                       "model.safetensors",     "modeling_dream.py", "tokenization_dream.py",
                       "tokenizer_config.json", "vocab.json"};
  EXPECT_THAT(select("o/n", names)->names,
              ElementsAre("config.json", "merges.txt", "model.safetensors", "tokenizer_config.json",
                          "vocab.json"));
}

TEST(SelectFiles, ShardsComeWithTheirIndexAndNoSecondCopy) {
  const Names names = {"config.json",
                       "chat_template.jinja",
                       "consolidated-00001-of-00001.safetensors",
                       "model-00001-of-00002.safetensors",
                       "model-00002-of-00002.safetensors",
                       "model.safetensors.index.json"};
  EXPECT_THAT(select("o/n", names)->names,
              ElementsAre("chat_template.jinja", "config.json", "model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors", "model.safetensors.index.json"));
  EXPECT_THAT(select("o/n", {"config.json", "weights.safetensors"})->names,
              ElementsAre("config.json", "weights.safetensors"));
}

const Names kGguf = {"README.md",
                     "imatrix.gguf",
                     "m-BF16.gguf",
                     "m-F16.gguf",
                     "m-IQ4_XS.gguf",
                     "m-Q4_K_S.gguf",
                     "m-Q4_K_M.gguf",
                     "m-UD-Q4_K_XL.gguf",
                     "m.q8_0.gguf",
                     "mmproj-F16.gguf",
                     "Q6_K/m-00001-of-00002.gguf",
                     "Q6_K/m-00002-of-00002.gguf"};

TEST(SelectFiles, OfGgufFilesTheOneThatIsNamed) {
  const auto chosen = [](const std::string& model) {
    const auto selected = select(model, kGguf);
    return selected.ok() ? selected->gguf : selected.error().message;
  };
  EXPECT_EQ(chosen("o/n"), "m-Q4_K_M.gguf");
  EXPECT_EQ(chosen("o/n:Q4_K_M"), "m-Q4_K_M.gguf");
  EXPECT_EQ(chosen("o/n:q4_k_s"), "m-Q4_K_S.gguf");
  EXPECT_EQ(chosen("o/n:Q8_0"), "m.q8_0.gguf");
  EXPECT_EQ(chosen("o/n:F16"), "m-F16.gguf");
  EXPECT_EQ(chosen("o/n:bf16"), "m-BF16.gguf");
  EXPECT_EQ(chosen("o/n:UD-Q4_K_XL"), "m-UD-Q4_K_XL.gguf");
  EXPECT_EQ(chosen("o/n/m-IQ4_XS.gguf"), "m-IQ4_XS.gguf");
  EXPECT_EQ(chosen("o/n:Q6_K"), "Q6_K/m-00001-of-00002.gguf");
  EXPECT_EQ(chosen("o/n/Q6_K/m-00002-of-00002.gguf"), "Q6_K/m-00001-of-00002.gguf");
  EXPECT_THAT(select("o/n:Q6_K", kGguf)->names,
              ElementsAre("Q6_K/m-00001-of-00002.gguf", "Q6_K/m-00002-of-00002.gguf"));
  EXPECT_THAT(chosen("o/n:Q4_K"), HasSubstr("o/n: no file fits Q4_K; there are \"Q6_K/m-00001"));
  EXPECT_THAT(chosen("o/n/none.gguf"), HasSubstr("no file \"none.gguf\""));
}

TEST(SelectFiles, WithoutTheDefaultTheFirstIsTakenAndSaid) {
  const auto selected = select("o/n", {"b-Q8_0.gguf", "a-Q5_0.gguf"});
  EXPECT_EQ(selected->gguf, "a-Q5_0.gguf");
  EXPECT_EQ(selected->note, "no Q4_K_M there: taking \"a-Q5_0.gguf\"");
  EXPECT_EQ(select("o/n", {"only.gguf"})->note, "");
}

TEST(SelectFiles, WhatFitsSeveralIsAsked) {
  const auto selected = select("o/n:Q4_0", {"big-Q4_0.gguf", "small-Q4_0.gguf"});
  ASSERT_FALSE(selected.ok());
  EXPECT_EQ(selected.error().kind, ErrorKind::usage);
  EXPECT_THAT(selected.error().message, HasSubstr("name one: o/n/big-Q4_0.gguf"));
}

TEST(SelectFiles, ADirectoryGoesBeforeGgufFilesUnlessAQuantIsGiven) {
  const Names names = {"config.json", "model.safetensors", "m-Q4_K_M.gguf"};
  EXPECT_EQ(select("o/n", names)->gguf, "");
  EXPECT_EQ(select("o/n:Q4_K_M", names)->gguf, "m-Q4_K_M.gguf");
}

TEST(SelectFiles, APartThatIsNotThereIsAnError) {
  EXPECT_THAT(select("o/n:Q8_0", {"m-Q8_0-00001-of-00002.gguf"}).error().message,
              HasSubstr("no file \"m-Q8_0-00002-of-00002.gguf\""));
  EXPECT_EQ(missing_part({"a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"}), "");
  EXPECT_EQ(missing_part({"a-00002-of-00003.safetensors", "a-00001-of-00003.safetensors"}),
            "a-00003-of-00003.safetensors");
  EXPECT_EQ(missing_part({"a-00004-of-00003.gguf", "a-00000-of-00000.gguf", "b.gguf"}), "");
}

TEST(SelectFiles, PatternsChooseThemselves) {
  EXPECT_THAT(
      select("o/n", kDirectory, {.include = {"*.json"}, .exclude = {"vocab*", "gen*"}})->names,
      ElementsAre("config.json", "special_tokens_map.json", "tokenizer.json",
                  "tokenizer_config.json"));
  EXPECT_THAT(select("o/n", kDirectory, {.include = {"original/"}})->names,
              ElementsAre("original/model.safetensors", "original/tokenizer.model"));
  EXPECT_EQ(select("o/n", kGguf, {.include = {"*q8_0*"}})->gguf, "m.q8_0.gguf");
  EXPECT_THAT(select("o/n", kDirectory, {.exclude = {"*"}}).error().message,
              HasSubstr("no file fits --include and --exclude"));
}

TEST(SelectFiles, PickledWeightsAloneAreNoModel) {
  const auto selected = select("o/n", {"config.json", "pytorch_model.bin"});
  ASSERT_FALSE(selected.ok());
  EXPECT_EQ(selected.error().kind, ErrorKind::model);
  EXPECT_THAT(selected.error().message, HasSubstr("only pickled weights (\"pytorch_model.bin\")"));
  EXPECT_THAT(selected.error().message, HasSubstr("tools/pickle_to_safetensors.py"));
  EXPECT_THAT(select("o/n", {"README.md"}).error().message,
              HasSubstr("neither safetensors nor GGUF files"));
}

TEST(SelectFiles, NamesThatLeaveTheFolderAreRefused) {
  for (const std::string& evil :
       {std::string("../../x.safetensors"), std::string("/x.safetensors"),
        std::string("a\\..\\x.safetensors"), std::string("x\0.safetensors", 14)}) {
    const auto selected = select("o/n", {"config.json", evil}, {.include = {"*"}});
    ASSERT_FALSE(selected.ok()) << evil;
    EXPECT_EQ(selected.error().kind, ErrorKind::model);
    EXPECT_THAT(selected.error().message, HasSubstr("refused: the file name"));
  }
}

}  // namespace
}  // namespace dunlin

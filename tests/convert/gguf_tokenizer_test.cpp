// A tokenizer.json written as tokenizer.ggml.* gives the same ids when it is read again.
#include "convert/gguf_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "checkpoint/gguf_reader.h"
#include "convert/hf_tokenizer.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"
#include "tokenizer/tokenizer.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Metadata config_with(int64_t vocabulary, std::vector<int64_t> ends = {}) {
  Metadata config("config.json");
  config.set("vocab_size", vocabulary);
  config.set("eos_token_id", std::move(ends));
  return config;
}

class GgufTokenizer : public testing::Test {
 protected:
  // The header of a file to which `add` has added keys.
  template <typename Add>
  Result<Metadata> header_with(Add add) const {
    const std::string path = folder_.file("a.gguf");
    DUNLIN_ASSIGN_OR_RETURN(GgufWriter writer, GgufWriter::create(path));
    DUNLIN_RETURN_IF_ERROR(add(writer));
    DUNLIN_RETURN_IF_ERROR(writer.begin_data());
    DUNLIN_RETURN_IF_ERROR(writer.finish());
    DUNLIN_ASSIGN_OR_RETURN(const auto source, open_file(path));
    DUNLIN_ASSIGN_OR_RETURN(GgufHeader header, read_gguf_header(*source));
    return std::move(header.metadata);
  }
  Result<Metadata> header_of(const std::string& directory, const Metadata& config) const {
    return header_with([&](GgufWriter& writer) -> Result<void> {
      DUNLIN_ASSIGN_OR_RETURN(TokenizerParts parts, read_tokenizer_directory(directory));
      DUNLIN_RETURN_IF_ERROR(add_special_ids(config, &parts, writer));
      return add_tokens(config, std::move(parts), writer);
    });
  }

  TemporaryFolder folder_;
};

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

std::string small(const std::string& name) {
  return test_data("tokenizer/data/" + name);
}

TEST_F(GgufTokenizer, IdsAreThoseOfTheDirectory) {
  const std::map<std::string, std::string> pres = {{"small_llama3", "llama-bpe"},
                                                   {"small_o200k", "gpt-4o"},
                                                   {"small_qwen2", "qwen2"},
                                                   {"small_gpt2", "gpt-2"},
                                                   {"small_smollm2", "smollm"}};
  const auto corpus = read_json(test_data("tokenizer/data/corpus.json"));
  for (const auto& [name, pre] : pres) {
    const auto header = header_of(small(name), config_with(1000));
    ASSERT_TRUE(header.ok()) << name << ": " << header.error().message;
    EXPECT_EQ(*header->text("tokenizer.ggml.pre"), pre);
    const auto written = Tokenizer::from_gguf(*header);
    ASSERT_TRUE(written.ok()) << name << ": " << written.error().message;
    const auto original = Tokenizer::from_directory(small(name)).value();
    EXPECT_EQ((*written)->bos_id(), original->bos_id()) << name;
    EXPECT_EQ((*written)->eos_id(), original->eos_id()) << name;
    EXPECT_EQ((*written)->adds_bos(), original->adds_bos()) << name;
    size_t compared = 0;
    for (const auto& text : corpus) {
      if (!text.is_string()) continue;
      // GGUF does not say that a token is looked for in normalised text.
      const std::string bytes = text.get<std::string>();
      if (name == "small_qwen2" && bytes.find("<note>\u0338") != std::string::npos) continue;
      ++compared;
      for (const bool special : {false, true}) {
        EXPECT_EQ((*written)->encode(bytes, special).value(),
                  original->encode(bytes, special).value())
            << name << ": " << bytes;
      }
    }
    EXPECT_GT(compared, 100u);
    for (int32_t id = 0; id < original->vocab_size(); ++id) {
      EXPECT_EQ((*written)->token_bytes(id), original->token_bytes(id)) << name << ' ' << id;
      EXPECT_EQ((*written)->is_special(id), original->is_special(id)) << name << ' ' << id;
    }
  }
}

// From tokenizer.json to GGUF and to another tokenizer.json.
TEST_F(GgufTokenizer, AndBackInADirectoryTheIdsStay) {
  const auto corpus = read_json(test_data("tokenizer/data/corpus.json"));
  for (const char* name :
       {"small_llama3", "small_o200k", "small_qwen2", "small_gpt2", "small_smollm2"}) {
    const auto header = header_of(small(name), config_with(1000));
    ASSERT_TRUE(header.ok()) << name << ": " << header.error().message;
    TokenizerParts parts = parse_gguf_tokenizer(*header).value();
    std::ofstream(folder_.file("tokenizer_config.json"))
        << hf_tokenizer_config_text(parts, "{{ messages }}\n");
    const auto text = hf_tokenizer_text(std::move(parts));
    ASSERT_TRUE(text.ok()) << text.error().message;
    std::ofstream(folder_.file("tokenizer.json")) << *text;
    const auto written = Tokenizer::from_directory(folder_.path());
    ASSERT_TRUE(written.ok()) << name << ": " << written.error().message;
    const auto original = Tokenizer::from_gguf(*header).value();
    EXPECT_EQ((*written)->bos_id(), original->bos_id()) << name;
    EXPECT_EQ((*written)->eos_id(), original->eos_id()) << name;
    EXPECT_EQ((*written)->adds_bos(), original->adds_bos()) << name;
    EXPECT_EQ((*written)->vocab_size(),
              Tokenizer::from_directory(small(name)).value()->vocab_size());
    for (const auto& sample : corpus) {
      if (!sample.is_string()) continue;
      const std::string bytes = sample.get<std::string>();
      for (const bool special : {false, true}) {
        EXPECT_EQ((*written)->encode(bytes, special).value(),
                  original->encode(bytes, special).value())
            << name << ": " << bytes;
      }
    }
    for (int32_t id = 0; id < (*written)->vocab_size(); ++id) {
      EXPECT_EQ((*written)->token_bytes(id), original->token_bytes(id)) << name << ' ' << id;
      EXPECT_EQ((*written)->is_special(id), original->is_special(id)) << name << ' ' << id;
    }
    EXPECT_EQ(read_json(folder_.file("tokenizer_config.json"))["chat_template"],
              "{{ messages }}\n");
    // What the published file of the family says.
    const auto document = read_json(folder_.file("tokenizer.json"));
    const auto published = read_json(small(name) + "/tokenizer.json");
    EXPECT_EQ(document["normalizer"], published["normalizer"]) << name;
    for (const auto& [token, id] : published["model"]["vocab"].items())
      EXPECT_EQ(document["model"]["vocab"].value(token, -1), id) << name << ": " << token;
  }
}

TEST_F(GgufTokenizer, RowsWithoutATokenAreUnused) {
  const auto header = header_of(small("small_llama3"), config_with(720));
  ASSERT_TRUE(header.ok()) << header.error().message;
  const auto& tokens = std::get<std::vector<std::string>>(*header->find("tokenizer.ggml.tokens"));
  const auto& types = std::get<std::vector<int64_t>>(*header->find("tokenizer.ggml.token_type"));
  ASSERT_EQ(tokens.size(), 720u);
  ASSERT_EQ(types.size(), 720u);
  EXPECT_EQ(tokens[705], "<|only_in_config|>");
  EXPECT_EQ(types[705], 3);
  EXPECT_EQ(tokens[719], "[PAD719]");
  EXPECT_EQ(types[719], 5);
  EXPECT_EQ(types[100], 1);
}

TEST_F(GgufTokenizer, WhatGgufCannotSayIsAnError) {
  const auto many = header_of(small("small_llama3"), config_with(700));
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.error().kind, ErrorKind::model);
  EXPECT_THAT(many.error().message, HasSubstr("vocab_size is 700"));

  auto document = read_json(small("small_llama3") + "/tokenizer.json");
  document["model"]["ignore_merges"] = false;
  std::ofstream(folder_.file("tokenizer.json")) << document.dump();
  const auto unnamed = header_of(folder_.path(), config_with(1000));
  ASSERT_FALSE(unnamed.ok());
  EXPECT_EQ(unnamed.error().kind, ErrorKind::model);
  EXPECT_THAT(unnamed.error().message, HasSubstr("has no name in GGUF"));
}

TEST_F(GgufTokenizer, OfTwoNamesTheOneThatExpectsBosWhereTheTokenizerDoes) {
  TokenizerParts parts;
  parts.splitter = &kQwen2Splitter;
  parts.nfc = true;
  EXPECT_EQ(gguf_pre_name(parts), "qwen2");
  parts.adds_bos = true;
  EXPECT_EQ(gguf_pre_name(parts), "deepseek-r1-qwen");
  parts.nfc = false;
  EXPECT_EQ(gguf_pre_name(parts), std::nullopt);
  parts = {};
  EXPECT_EQ(gguf_pre_name(parts), std::nullopt);
  parts.splitter = &kLlama3Splitter;
  parts.ignore_merges = true;
  EXPECT_EQ(gguf_pre_name(parts), "llama-bpe");
  parts.adds_prefix_space = true;
  EXPECT_EQ(gguf_pre_name(parts), std::nullopt);
}

TEST_F(GgufTokenizer, EndsOfSequenceTakeThreePlaces) {
  std::vector<std::string> warnings;
  set_warning_sink([&warnings](const std::string& message) { warnings.push_back(message); });
  const auto ends = [&](std::optional<int32_t> tokenizer, std::vector<int64_t> config) {
    const auto header = header_with([&](GgufWriter& writer) {
      TokenizerParts parts;
      parts.eos_id = tokenizer;
      return add_special_ids(config_with(100, config), tokenizer ? &parts : nullptr, writer);
    });
    std::vector<int64_t> ids;
    for (const char* name : {"eos", "eot", "eom"}) {
      const auto id = header->integer(fmt::format("tokenizer.ggml.{}_token_id", name), 0, 100);
      ids.push_back(id.ok() ? *id : -1);
    }
    return ids;
  };
  EXPECT_THAT(ends(std::nullopt, {}), ElementsAre(-1, -1, -1));
  EXPECT_THAT(ends(std::nullopt, {2}), ElementsAre(2, -1, -1));
  EXPECT_THAT(ends(9, {1, 8, 9}), ElementsAre(9, 1, 8));
  EXPECT_THAT(ends(5, {}), ElementsAre(5, -1, -1));
  EXPECT_TRUE(warnings.empty());
  EXPECT_THAT(ends(std::nullopt, {4, 5, 6, 7}), ElementsAre(4, 5, 6));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("7 is left out"));
  set_warning_sink([](const std::string&) {});
}

}  // namespace
}  // namespace dunlin

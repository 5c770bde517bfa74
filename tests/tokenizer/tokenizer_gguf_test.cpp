// The same vocabularies as GGUF metadata give the same ids; wrong metadata is an error that names
// the key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "golden_data.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::map<std::string, std::string> kPreOf = {
    {"small_llama3", "llama-bpe"}, {"small_o200k", "gpt-4o"},   {"small_qwen2", "qwen2"},
    {"small_gpt2", "gpt-2"},       {"small_smollm2", "smollm"}, {"small_r1", "deepseek-r1-qwen"}};

// The tokenizer.ggml keys that a converter writes for a tokenizer.json.
Metadata to_gguf(const json& document, const std::string& pre) {
  std::vector<std::string> tokens(1000);
  std::vector<int64_t> types(1000, 5);  // unused: rows of the embedding without a token
  for (size_t id = 0; id < tokens.size(); ++id) tokens[id] = "[PAD" + std::to_string(id) + "]";
  for (const auto& [token, id] : document["model"]["vocab"].items()) {
    tokens[id.get<size_t>()] = token;
    types[id.get<size_t>()] = 1;
  }
  for (const json& added : document["added_tokens"]) {
    tokens[added["id"].get<size_t>()] = added["content"];
    types[added["id"].get<size_t>()] = added["special"].get<bool>() ? 3 : 4;
  }
  std::vector<std::string> merges;
  for (const json& merge : document["model"]["merges"]) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  Metadata metadata("model.gguf");
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", pre);
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  metadata.set("tokenizer.ggml.merges", merges);
  return metadata;
}

Metadata small_gguf(const std::string& name) {
  return to_gguf(load_golden_json(name + "/tokenizer.json"), kPreOf.at(name));
}

TEST(TokenizerGguf, IdsEqualThoseOfTokenizerJson) {
  for (const std::string& name : kSmallTokenizers) {
    const auto from_gguf = Tokenizer::from_gguf(small_gguf(name));
    ASSERT_TRUE(from_gguf.ok()) << from_gguf.error().message;
    const auto from_json = small_tokenizer(name);
    for (const std::string& text : corpus()) {
      // GGUF does not say that a token is looked for in normalised text.
      if (name == "small_qwen2" && text.find("<note>\u0338") != std::string::npos) continue;
      for (const bool special : {false, true}) {
        EXPECT_EQ(encode(**from_gguf, text, special), encode(*from_json, text, special))
            << name << ": " << text;
      }
    }
  }
}

TEST(TokenizerGguf, OfOllamaHasTheSplitterOfItsModel) {
  Metadata metadata = small_gguf("small_o200k");
  metadata.set("tokenizer.ggml.pre", std::string("default"));
  metadata.set("general.architecture", std::string("gptoss"));
  const auto from_gguf = Tokenizer::from_gguf(metadata);
  ASSERT_TRUE(from_gguf.ok()) << from_gguf.error().message;
  const auto from_json = small_tokenizer("small_o200k");
  for (const std::string& text : corpus())
    EXPECT_EQ(encode(**from_gguf, text), encode(*from_json, text)) << text;
}

// What a converter calls the pre-tokenizer is what a reader takes it for.
TEST(TokenizerGguf, NamesOfPreTokenizersGoThereAndBack) {
  for (const auto& [name, pre] : kPreOf) {
    auto parts = parse_gguf_tokenizer(small_gguf(name));
    ASSERT_TRUE(parts.ok()) << parts.error().message;
    EXPECT_EQ(gguf_pre_name(*parts), pre);
    parts->adds_prefix_space = true;
    EXPECT_EQ(gguf_pre_name(*parts), std::nullopt) << pre;
  }
  EXPECT_EQ(gguf_pre_name(TokenizerParts()), std::nullopt);  // no splitter
}

TEST(TokenizerGguf, UnusedTokensDecodeToNothing) {
  const auto tokenizer = Tokenizer::from_gguf(small_gguf("small_qwen2")).value();
  EXPECT_EQ(tokenizer->token_bytes(999), "");
  EXPECT_EQ(encode(*tokenizer, "[PAD999]"), encode(*small_tokenizer("small_qwen2"), "[PAD999]"));
}

TEST(TokenizerGguf, BeginningAndEnd) {
  Metadata metadata = small_gguf("small_llama3");
  EXPECT_TRUE(Tokenizer::from_gguf(metadata)
                  .value()
                  ->adds_bos());  // Llama 3 does unless the file says otherwise
  metadata.set("tokenizer.ggml.bos_token_id", int64_t{701});
  metadata.set("tokenizer.ggml.eos_token_id", int64_t{702});
  metadata.set("tokenizer.ggml.add_bos_token", false);
  const auto tokenizer = Tokenizer::from_gguf(metadata).value();
  EXPECT_EQ(tokenizer->bos_id(), 701);
  EXPECT_EQ(tokenizer->eos_id(), 702);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->is_special(701));
}

struct Change {
  std::string message;
  std::function<void(Metadata&)> apply;
};

TEST(TokenizerGguf, WrongMetadata) {
  const auto set = [](const char* key, Metadata::Value value) {
    return [key, value](Metadata& metadata) {
      metadata.set(std::string("tokenizer.ggml.") + key, value);
    };
  };
  const std::vector<Change> changes = {
      {"tokenizer.ggml.model is \"llama\"", set("model", std::string("llama"))},
      {"tokenizer.ggml.pre is \"default\", not one of the supported llama-bpe, llama3, llama-v3, "
       "qwen2, deepseek-r1-qwen, gpt-4o, smollm, gpt-2",
       set("pre", std::string("default"))},
      {"tokenizer.ggml.tokens is not a list of the right type",
       set("tokens", std::vector<int64_t>{1})},
      {"tokenizer.ggml.token_type has 2 entries for 1000 tokens",
       set("token_type", std::vector<int64_t>{1, 1})},
      {"the token 0 has the type 6", set("token_type", std::vector<int64_t>(1000, 6))},
      {"merge 0 is not two tokens", set("merges", std::vector<std::string>{"ab"})},
      {"merge 0 is not UTF-8", set("merges", std::vector<std::string>{"a \xFF"})},
      {"merge 0 joins or makes a token that is not in the vocabulary",
       set("merges", std::vector<std::string>{"q q"})},
      {"tokenizer.ggml.bos_token_id is 4000, outside", set("bos_token_id", int64_t{4000})},
      {"tokenizer.ggml.eos_token_id is -1, outside", set("eos_token_id", int64_t{-1})},
      {"tokenizer.ggml.add_bos_token is not true or false", set("add_bos_token", int64_t{1})},
      {"tokenizer.ggml.tokens: the token 0 is not UTF-8",
       set("tokens", std::vector<std::string>(1000, "\xFF"))},
      {"are the same bytes",
       [](Metadata& metadata) {
         metadata.set("tokenizer.ggml.tokens", std::vector<std::string>(1000, "a"));
         metadata.set("tokenizer.ggml.token_type", std::vector<int64_t>(1000, 1));
       }},
  };
  for (const Change& change : changes) {
    Metadata metadata = small_gguf("small_llama3");
    change.apply(metadata);
    const auto tokenizer = Tokenizer::from_gguf(metadata);
    ASSERT_FALSE(tokenizer.ok()) << change.message;
    EXPECT_THAT(tokenizer.error().message, HasSubstr(change.message));
    EXPECT_THAT(tokenizer.error().message, HasSubstr("model.gguf: "));
  }
  Metadata without_tokens("model.gguf");
  without_tokens.set("tokenizer.ggml.model", std::string("gpt2"));
  without_tokens.set("tokenizer.ggml.pre", std::string("gpt-2"));
  EXPECT_THAT(Tokenizer::from_gguf(without_tokens).error().message,
              HasSubstr("model.gguf: the key tokenizer.ggml.tokens is missing"));
  EXPECT_THAT(Tokenizer::from_gguf(Metadata("empty.gguf")).error().message,
              HasSubstr("tokenizer.ggml.model is missing"));
}

}  // namespace
}  // namespace dunlin

// tokenizer_config.json beside a good tokenizer.json: what it adds, and malformed ones, whose errors name
// the file and the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/byte_source.h"
#include "golden_data.h"
#include "tokenizer/tokenizer_parts.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kConfig = "x/tokenizer_config.json";

// Of small_llama3: special tokens 701..704, <|begin|> the first, and 701 tokens before them.
TokenizerParts tokenizer_parts() {
  const std::string path = golden_path("small_llama3/tokenizer.json");
  return parse_tokenizer_json(read_text_file(path, uint64_t{1} << 24).value(), path).value();
}

void expect_wrong_config(const std::string& text, const std::string& problem) {
  TokenizerParts parts = tokenizer_parts();
  const auto applied = apply_tokenizer_config(text, kConfig, parts);
  ASSERT_FALSE(applied.ok()) << text.substr(0, 100);
  EXPECT_EQ(applied.error().kind, ErrorKind::model);
  EXPECT_THAT(applied.error().message, StartsWith(std::string(kConfig) + ": "));
  EXPECT_THAT(applied.error().message, HasSubstr(problem));
}

TEST(TokenizerConfig, ANullIsAMissingKey) {
  TokenizerParts parts = tokenizer_parts();
  const auto applied = apply_tokenizer_config(
      R"({"bos_token": null, "eos_token": {"content": "<|eot_id|>"}, "add_bos_token": null,
          "added_tokens_decoder": null, "model_max_length": 1000000000000000019884624838656})",
      kConfig, parts);
  ASSERT_TRUE(applied.ok()) << applied.error().message;
  EXPECT_EQ(parts.bos_id, 701);  // as tokenizer.json has it
  EXPECT_EQ(parts.eos_id, 704);
  EXPECT_TRUE(parts.adds_bos);
}

TEST(TokenizerConfig, NotAnObject) {
  for (const char* text : {"", " ", "{", "{}}", "{'a': 1}", "{\"a\": \"\xff\"}", "{\"a\":}"})
    expect_wrong_config(text, "not valid JSON");
  for (const char* text : {"[]", "null", "7", "\"bos_token\""})
    expect_wrong_config(text, "not a JSON object");
}

TEST(TokenizerConfig, DeepNestingAndTooManyValues) {
  expect_wrong_config("{\"a\": " + std::string(2'000'000, '['), "nested deeper than 64 levels");
  expect_wrong_config(std::string(2'000'000, '['), "nested deeper than 64 levels");
  std::string many = "{\"a\": [0";
  for (int i = 0; i < 1'100'000; ++i) many += ",0";
  expect_wrong_config(many + "]}", "more than 1048576 values");
}

TEST(TokenizerConfig, NamedTokensMustExist) {
  for (const char* name : {"bos_token", "eos_token"}) {
    for (const char* value : {"\"<|nothing|>\"", "\"\"", "3", "[]", "{}", "{\"content\": 1}"}) {
      expect_wrong_config(std::string("{\"") + name + "\": " + value + "}", name);
    }
  }
  for (const char* value : {"1", "\"true\"", "[]"})
    expect_wrong_config(std::string("{\"add_bos_token\": ") + value + "}",
                        "add_bos_token is not true or false");
}

TEST(TokenizerConfig, AddedTokens) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "not an object"},
      {R"({"x": {"content": "a1"}})", "\"x\" is no id"},
      {R"({"1.5": {"content": "a1"}})", "\"1.5\" is no id"},
      {R"({"99999999999999999999": {"content": "a1"}})", "is no id"},
      {R"({"-1": {"content": "a1"}})", "the token id -1 is outside"},
      {R"({"4294967296": {"content": "a1"}})", "the token id 4294967296 is outside"},
      {R"({"800": 3})", "the added token 800 has 0 bytes"},
      {R"({"800": {"content": ""}})", "the added token 800 has 0 bytes"},
      {R"({"800": {"content": "a1", "special": 1}})", "special is not true or false"},
      {R"({"800": {"content": "a1", "lstrip": true}})", "has lstrip set"},
      {R"({"300": {"content": "a1"}})", "has the id 300, which is the token"},
      {R"({"800": {"content": "<|end|>"}})", "the added token \"<|end|>\" is there twice"},
  };
  for (const auto& [decoder, problem] : cases) {
    SCOPED_TRACE(decoder);
    const std::string text = "{\"added_tokens_decoder\": " + decoder + "}";
    expect_wrong_config(text, "added_tokens_decoder: ");
    expect_wrong_config(text, problem);
  }
}

}  // namespace
}  // namespace dunlin

// tokenizer.json that is malformed, hostile or unsupported: a typed error that names file and
// field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "golden_data.h"

namespace dunlin {
namespace {

using nlohmann::json;
using testing::HasSubstr;

void expect_error(const std::string& text, const std::string& message) {
  const auto tokenizer = Tokenizer::from_json_text(text, "tokenizer.json");
  ASSERT_FALSE(tokenizer.ok()) << message;
  EXPECT_EQ(tokenizer.error().kind, ErrorKind::model);
  EXPECT_THAT(tokenizer.error().message, HasSubstr(message));
  EXPECT_THAT(tokenizer.error().message, HasSubstr("tokenizer.json: "));
}

struct JsonChange {
  std::string message;
  std::function<void(json&)> apply;
};

void expect_errors(const std::vector<JsonChange>& changes) {
  const json original = load_golden_json("small_llama3/tokenizer.json");
  for (const JsonChange& change : changes) {
    json document = original;
    change.apply(document);
    expect_error(document.dump(), change.message);
  }
}

json added(int64_t id, const std::string& content) {
  return {{"id", id}, {"content", content}, {"special", true}};
}

TEST(TokenizerJson, NotJson) {
  expect_error("", "not valid JSON at byte");
  expect_error("{\"model\": ", "not valid JSON at byte");
  expect_error("{\"model\": {\"vocab\": {\"\xFF\": 1}}}", "not valid JSON at byte");
  expect_error("[]", "the field model is missing");
  expect_error("7", "the field model is missing");
  expect_error(R"({"model": []})", "model.type");
  expect_error(std::string(100000, '['), "nested deeper than 64 levels");
  expect_error("{\"x\":" + std::string(100000, '['), "nested deeper than 64 levels");
  std::string many = "[0";
  for (int i = 0; i < 2'000'000; ++i) many += ",0";
  expect_error(many + "]", "more than 1048576 values");
}

TEST(TokenizerJson, Vocabulary) {
  expect_errors({
      {"model.vocab is missing", [](json& d) { d["model"].erase("vocab"); }},
      {"model.vocab: the token id -1 is outside", [](json& d) { d["model"]["vocab"]["x1"] = -1; }},
      {"model.vocab: the token id 2147483648 is outside",
       [](json& d) { d["model"]["vocab"]["x1"] = int64_t{1} << 31; }},
      {"model.vocab: the token id 4194304 is outside",
       [](json& d) { d["model"]["vocab"]["x1"] = 1 << 22; }},
      {"the number 18446744073709551615 is too large",
       [](json& d) { d["model"]["vocab"]["x1"] = UINT64_MAX; }},
      {"model.vocab: the token id 5 is used twice", [](json& d) { d["model"]["vocab"]["x1"] = 5; }},
      {"model.vocab: a fraction is not expected there",
       [](json& d) { d["model"]["vocab"]["x1"] = 1.5; }},
      {"model.vocab: a string is not expected there",
       [](json& d) { d["model"]["vocab"]["x1"] = "5"; }},
      {"model.vocab: null is not expected there",
       [](json& d) { d["model"]["vocab"]["x1"] = nullptr; }},
      {"model.vocab: an object is not expected there",
       [](json& d) { d["model"]["vocab"]["x1"] = json::object(); }},
  });
  // One token under two ids: JSON lets a key stand twice.
  std::string text = load_golden_json("small_llama3/tokenizer.json").dump();
  const size_t at = text.find("\"vocab\":{") + 9;
  text.insert(at, "\"a\":3000,");
  expect_error(text, "are the same bytes");
}

TEST(TokenizerJson, Merges) {
  expect_errors({
      {"merge 0 joins or makes a token that is not in the vocabulary",
       [](json& d) { d["model"]["merges"].insert(d["model"]["merges"].begin(), "q q"); }},
      {"model.merges: merge 1 is not two tokens", [](json& d) { d["model"]["merges"][1] = "ab"; }},
      {"model.merges: merge 1 is not two tokens",
       [](json& d) { d["model"]["merges"][1] = "a b c"; }},
      {"model.merges: merge 1 is not two tokens", [](json& d) { d["model"]["merges"][1] = "a "; }},
      {"model.merges: merge 1 is not two tokens",
       [](json& d) { d["model"]["merges"][1] = "\u4F60 a"; }},
      {"model.merges: merge 1 has 1 parts",
       [](json& d) { d["model"]["merges"][1] = json::array({"a"}); }},
      {"model.merges: merge 1 has 3 parts",
       [](json& d) { d["model"]["merges"][1] = json::array({"a", "b", "c"}); }},
      {"model.merges: a number is not expected", [](json& d) { d["model"]["merges"][1] = 3; }},
      {"model.merges: an array is not expected",
       [](json& d) { d["model"]["merges"][1] = json::array({"a", json::array()}); }},
  });
}

// Refused while they are read: kept, those of the largest file would take more than a gigabyte.
TEST(TokenizerJson, TenMillionMerges) {
  std::string text = R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a")";
  for (int i = 0; i < 10'000'000; ++i) text += R"(,"a a")";
  text += "]}}";
  expect_error(text, "model.merges: more than 4194302 merges");
}

TEST(TokenizerJson, AnIdWithoutATokenDecodesToNothing) {
  json document = load_golden_json("small_llama3/tokenizer.json");
  document["model"]["vocab"].erase(std::string("\u0120unmergeable"));
  const auto tokenizer = Tokenizer::from_json_text(document.dump(), "tokenizer.json").value();
  EXPECT_EQ(tokenizer->vocab_size(), 705);
  EXPECT_EQ(tokenizer->token_bytes(700), "");
  EXPECT_FALSE(tokenizer->is_special(700));
  std::vector<int32_t> ids = encode(*tokenizer, " unmergeable<|end|>");
  EXPECT_GT(ids.size(), 2u);
  EXPECT_EQ(ids.back(), 702);
  ids.insert(ids.begin(), 700);
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/false), " unmergeable<|end|>");
}

TEST(TokenizerJson, WithoutMergesBytesAreTokens) {
  json document = load_golden_json("small_gpt2/tokenizer.json");
  document["model"].erase("merges");
  const auto tokenizer = Tokenizer::from_json_text(document.dump(), "tokenizer.json").value();
  EXPECT_EQ(encode(*tokenizer, "river").size(), 5u);
}

TEST(TokenizerJson, UnsupportedModels) {
  expect_errors({
      {"model.type is \"WordPiece\"", [](json& d) { d["model"]["type"] = "WordPiece"; }},
      {"model.dropout", [](json& d) { d["model"]["dropout"] = 0.1; }},
      {"model.continuing_subword_prefix",
       [](json& d) { d["model"]["continuing_subword_prefix"] = "##"; }},
      {"model.end_of_word_suffix", [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }},
      {"ignore_merges is not true or false", [](json& d) { d["model"]["ignore_merges"] = "yes"; }},
      {"decoder is not ByteLevel", [](json& d) { d["decoder"] = nullptr; }},
      {"normalizer is neither null nor NFC",
       [](json& d) { d["normalizer"] = {{"type", "Lowercase"}}; }},
      {"normalizer is neither null nor NFC",
       [](json& d) {
         d["normalizer"] = {{"type", "Sequence"},
                            {"normalizers", {{{"type", "NFC"}}, {{"type", "Strip"}}}}};
       }},
  });
}

TEST(TokenizerJson, UnknownTokensMatterOnlyWhereBytesHaveNone) {
  json complete = load_golden_json("small_gpt2/tokenizer.json");
  complete["model"]["unk_token"] = "<|endoftext|>";
  EXPECT_TRUE(Tokenizer::from_json_text(complete.dump(), "tokenizer.json").ok());
  for (const char* field : {"unk_token", "byte_fallback"}) {
    json incomplete = load_golden_json("small_smollm2/tokenizer.json");
    incomplete["model"][field] =
        field == std::string("unk_token") ? json("<|endoftext|>") : json(true);
    expect_error(incomplete.dump(), "model.vocab has no token for some bytes");
  }
}

json& first_step(json& document) {
  return document["pre_tokenizer"]["pretokenizers"][0];
}

TEST(TokenizerJson, UnsupportedPreTokenizers) {
  const auto set_pattern = [](const char* pattern) {
    return [pattern](json& d) { first_step(d)["pattern"]["Regex"] = pattern; };
  };
  const auto pattern_error = [&](const char* pattern, const std::string& message) {
    return JsonChange{
        "pre_tokenizer: the pattern \"" + json(pattern).dump().substr(1) + ": " + message,
        set_pattern(pattern)};
  };
  expect_errors({
      {"pre_tokenizer: 0 ByteLevel steps instead of 1",
       [](json& d) { d["pre_tokenizer"] = nullptr; }},
      {"pre_tokenizer: a step without a type is not supported",
       [](json& d) { d["pre_tokenizer"] = "ByteLevel"; }},
      {"pre_tokenizer: 0 ByteLevel steps instead of 1",
       [](json& d) { d["pre_tokenizer"]["pretokenizers"] = json::array(); }},
      {"pre_tokenizer: Metaspace is not supported; what is: Split, Digits, Punctuation, ByteLevel",
       [](json& d) { d["pre_tokenizer"] = {{"type", "Metaspace"}}; }},
      {"pre_tokenizer: 0 ByteLevel steps instead of 1",
       [](json& d) { d["pre_tokenizer"]["pretokenizers"].erase(1); }},
      {"pre_tokenizer: 2 ByteLevel steps instead of 1",
       [](json& d) {
         d["pre_tokenizer"]["pretokenizers"].push_back(d["pre_tokenizer"]["pretokenizers"][1]);
       }},
      {"pre_tokenizer: add_prefix_space behind another step is not supported",
       [](json& d) { d["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }},
      {"pre_tokenizer: the behavior \"Odd\" is not supported",
       [](json& d) { first_step(d)["behavior"] = "Odd"; }},
      {"pre_tokenizer: the pattern is neither a Regex nor a String",
       [](json& d) { first_step(d)["pattern"] = {{"Wildcard", " "}}; }},
      {"invert is not true or false", [](json& d) { first_step(d)["invert"] = 1; }},
      pattern_error("(a", "a group is not closed"),
      pattern_error("a)", "a ) that closes nothing at byte 1 is not supported"),
      pattern_error("+", "quantifier does not follow a repeatable item"),
      pattern_error("(a)\\1", "\\1 at byte 4 is not supported"),
      pattern_error("[[:alpha:]]", "a POSIX bracket at byte 1 is not supported"),
      pattern_error("[a", "a class that is not closed at byte 2 is not supported"),
      pattern_error("\\p{Klingon}", "unknown property after \\P or \\p"),
      pattern_error("a(?i)b|c", "this kind of group at byte 2 is not supported"),
  });
  expect_errors({{"a pattern of more than 65536 bytes",
                  [](json& d) { first_step(d)["pattern"]["Regex"] = std::string(70000, 'x'); }}});
}

TEST(TokenizerJson, AddedTokens) {
  expect_errors({
      {"added_tokens: not an array", [](json& d) { d["added_tokens"] = 1; }},
      {"an added token has no integer id",
       [](json& d) { d["added_tokens"].push_back({{"content", "x"}}); }},
      {"the added token 800 has 0 bytes",
       [](json& d) { d["added_tokens"].push_back(added(800, "")); }},
      {"the added token 800 has 513 bytes",
       [](json& d) { d["added_tokens"].push_back(added(800, std::string(513, 'x'))); }},
      {"the token id -2 is outside", [](json& d) { d["added_tokens"].push_back(added(-2, "x1")); }},
      {"the added token \"x1\" has the id 300, which is the token",
       [](json& d) { d["added_tokens"].push_back(added(300, "x1")); }},
      {"the added token \"<|end|>\" is there twice",
       [](json& d) { d["added_tokens"].push_back(added(800, "<|end|>")); }},
      {"the token \"<|begin|>\" has lstrip set",
       [](json& d) { d["added_tokens"][0]["lstrip"] = true; }},
      {"the token \"<|begin|>\" has rstrip set",
       [](json& d) { d["added_tokens"][0]["rstrip"] = true; }},
      {"the token \"<|begin|>\" has single_word set",
       [](json& d) { d["added_tokens"][0]["single_word"] = true; }},
      {"the token \"<|begin|>\" is special and looked for in normalised text",
       [](json& d) {
         d["normalizer"] = {{"type", "NFC"}};
         d["added_tokens"][0]["normalized"] = true;
       }},
  });
}

TEST(TokenizerJson, FilesThatAreNotThere) {
  EXPECT_EQ(Tokenizer::from_json_file("/nonexistent/tokenizer.json").error().kind,
            ErrorKind::model);
  EXPECT_THAT(Tokenizer::from_directory("/nonexistent").error().message,
              HasSubstr("/nonexistent/tokenizer.json"));
}

// Every prefix of a small file, and the file with single bytes changed, gives a tokenizer or an
// error.
TEST(TokenizerJson, DamagedFilesNeverCrash) {
  const std::string text = load_golden_json("small_smollm2/tokenizer.json").dump();
  for (size_t i = 0; i < text.size(); i += 97) {
    EXPECT_FALSE(Tokenizer::from_json_text(text.substr(0, i), "cut").ok());
    for (const char byte : {'\0', '"', '{', '[', ',', '9', '\x80'}) {
      std::string changed = text;
      changed[i] = byte;
      const auto tokenizer = Tokenizer::from_json_text(changed, "changed");
      if (tokenizer.ok()) encode(**tokenizer, "The river rises, 123 <|im_end|>");
    }
  }
}

}  // namespace
}  // namespace dunlin

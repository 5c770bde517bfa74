// Models whose tokenizer or chat template cannot be.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "malformed_files.h"
#include "process.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";

// A good model with other text in one of its files.
MalformedFile text_file(std::string name, std::string file, std::string problem,
                        std::function<std::string()> text) {
  const auto make = [file, text = std::move(text)](const std::string& folder) {
    write_text_model(folder);
    write_all(folder + "/" + file, text());
  };
  MalformedFile malformed{std::move(name), std::move(file), std::move(problem), make};
  malformed.prompt = "Hello";
  return malformed;
}

// tokenizer.json with a change.
MalformedFile tokenizer(std::string name, std::string problem, void (*change)(Json& document)) {
  return text_file(std::move(name), kTokenizer, std::move(problem), [change] {
    Json document = Json::parse(read_all(test_data("tokenizer/data/small_smollm2/tokenizer.json")));
    change(document);
    return document.dump();
  });
}

MalformedFile tokenizer_config(std::string name, std::string problem, std::string text) {
  return text_file(std::move(name), kTokenizerConfig, std::move(problem),
                   [text = std::move(text)] { return text; });
}

// A chat template of one line; messages name the place in it. Code 2: it is one, but fails on the conversation.
MalformedFile chat_template(std::string name, int code, std::string problem, std::string text) {
  MalformedFile file = text_file(std::move(name), "chat_template.jinja", std::move(problem),
                                 [text = std::move(text)] { return text; });
  file.file = "chat_template:1:";
  file.code = code;
  return file;
}

std::string ten_million_merges() {
  std::string text = R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a")";
  for (int i = 0; i < 10'000'000; ++i) text += R"(,"a a")";
  return text += "]}}";
}

}  // namespace

std::vector<MalformedFile> malformed_tokenizers() {
  const std::string deep = "{\"a\": " + std::string(2'000'000, '[');
  return {
      text_file("TokenizerEmpty", kTokenizer, "not valid JSON", [] { return std::string(); }),
      text_file("TokenizerDeep", kTokenizer, "nested deeper than 64", [deep] { return deep; }),
      text_file("TokenizerTenMillionMerges", kTokenizer, "model.merges: more than",
                ten_million_merges),
      tokenizer("TokenizerOtherModel", "model.type is \"Unigram\"",
                [](Json& document) { document["model"]["type"] = "Unigram"; }),
      tokenizer("TokenizerIdTwice", "the token id 5 is used twice",
                [](Json& document) { document["model"]["vocab"]["zqzq"] = 5; }),
      tokenizer("TokenizerId31Bits", "the token id 2147483648 is outside",
                [](Json& document) { document["model"]["vocab"]["zqzq"] = int64_t{1} << 31; }),
      tokenizer("TokenizerIdNegative", "the token id -1 is outside",
                [](Json& document) { document["model"]["vocab"]["zqzq"] = -1; }),
      tokenizer("TokenizerMergeOfNothing", "is not in the vocabulary",
                [](Json& document) {
                  Json& merges = document["model"]["merges"];
                  merges.insert(merges.begin(), "zq qz");
                }),
      tokenizer("TokenizerMergeOfOne", "is not two tokens",
                [](Json& document) { document["model"]["merges"][1] = "ab"; }),
      tokenizer("TokenizerUnknownSplitter", "Metaspace is not supported",
                [](Json& document) { document["pre_tokenizer"] = {{"type", "Metaspace"}}; }),
      tokenizer("TokenizerByteFallback", "has no token for some bytes",
                [](Json& document) { document["model"]["byte_fallback"] = true; }),
      tokenizer("TokenizerAddedTokenEmpty", "has 0 bytes",
                [](Json& document) {
                  const Json token = {{"id", 900}, {"content", ""}, {"special", true}};
                  document["added_tokens"].push_back(token);
                }),
      tokenizer_config("TokenizerConfigEmpty", "not valid JSON", ""),
      tokenizer_config("TokenizerConfigList", "not a JSON object", "[]"),
      tokenizer_config("TokenizerConfigDeep", "nested deeper than 64", deep),
      tokenizer_config("TokenizerConfigDeepAndWhole", "nested deeper than 64",
                       deep + std::string(2'000'000, ']') + "}"),
      tokenizer_config("TokenizerConfigToken", "bos_token is \"<|nothing|>\"",
                       R"({"bos_token": "<|nothing|>"})"),
      tokenizer_config("TokenizerConfigTemplate", "chat_template is neither",
                       R"({"chat_template": 1})"),
  };
}

std::vector<MalformedFile> malformed_templates() {
  std::string brackets = "{{ ";
  brackets += std::string(100'000, '[');
  return {
      chat_template("TemplateInclude", 3, "not supported", "{% include 'other.jinja' %}"),
      chat_template("TemplateImport", 3, "not supported", "{% import 'other.jinja' as other %}"),
      chat_template("TemplateCut", 3, "the template ends", "{{ 1 + "),
      chat_template("TemplateDeep", 3, "64", brackets),
      chat_template("TemplateEndlessLoop", 2, "100000 items",
                    "{% for i in range(10 ** 9) %}x{% endfor %}"),
      chat_template("TemplateLoopInALoop", 2, "more than",
                    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"),
      chat_template("TemplateGigabyte", 2, "too large", "{{ 'x' * 1000000000 }}"),
      chat_template("TemplateAttribute", 2, "'__class__'", "{{ messages.__class__.__base__ }}"),
      chat_template("TemplateRecursion", 2, "calls nested deeper than 32",
                    "{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}"),
      chat_template("TemplateUndefined", 2, "'nothing' is undefined", "{{ nothing.at.all }}"),
  };
}

}  // namespace dunlin

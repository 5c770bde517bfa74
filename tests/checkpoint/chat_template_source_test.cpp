// Where the chat template of a directory or a GGUF file is found, and tokenizer_config.json files that are
// malformed.
#include "checkpoint/chat_template_source.h"

#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>
#include <string>

#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

class ChatTemplateSource : public testing::Test {
 protected:
  void SetUp() override {
    write("config.json", tiny_config());
    write("model.safetensors", safetensors_file(tiny_tensors(false, false)));
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.file(name), std::ios::binary) << text;
  }
  Result<std::string> source() const {
    const auto checkpoint = open_checkpoint(folder_.path());
    if (!checkpoint.ok()) throw std::runtime_error(checkpoint.error().message);
    return chat_template_source(**checkpoint);
  }
  void expect_template_error(const std::string& text, const std::string& problem) const {
    write("tokenizer_config.json", text);
    expect_model_error([this] { return source(); }, "tokenizer_config.json", problem);
  }

  TemporaryFolder folder_;
};

TEST_F(ChatTemplateSource, IsATextOrTheDefaultOfAList) {
  write("tokenizer_config.json", R"({"chat_template": "one", "model_max_length": 1e30})");
  EXPECT_EQ(source().value(), "one");
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "two"}, 3, {"name": "default"},
                              {"name": "default", "template": "three"}]})");
  EXPECT_EQ(source().value(), "three");
  write("chat_template.jinja", "four");
  EXPECT_EQ(source().value(), "four");
}

TEST_F(ChatTemplateSource, OfAGgufFileIsAKeyOfItsHeader) {
  const auto model = open_gguf_bytes(tiny_gguf().text("tokenizer.chat_template", "five").build());
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(chat_template_source(**model).value(), "five");
  const auto without = open_gguf_bytes(tiny_gguf().build());
  EXPECT_NE(chat_template_source(**without).error().message.find("tokenizer.chat_template"),
            std::string::npos);
}

TEST_F(ChatTemplateSource, WithoutOneTheErrorNamesTheFile) {
  expect_model_error([this] { return source(); }, "tokenizer_config.json", "No such file");
  expect_template_error("{}", "no chat_template");
  expect_template_error(R"({"chat_template": null})", "no chat_template");
}

TEST_F(ChatTemplateSource, MalformedConfigurationsNameTheFileAndWhatIsWrong) {
  expect_template_error("", "not valid JSON");
  expect_template_error("{\"chat_template\": \"\xff\"}", "not valid JSON");
  expect_template_error(R"({"chat_template": "a")", "not valid JSON");
  expect_template_error(R"(["chat_template"])", "not a JSON object");
  for (const char* value : {"1", "true", "{}"}) {
    expect_template_error(std::string("{\"chat_template\": ") + value + "}",
                          "chat_template is neither a text nor a list of templates");
  }
  for (const char* list : {"[]", "[\"a\"]", R"([{"name": "default", "template": 1}])"}) {
    expect_template_error(std::string("{\"chat_template\": ") + list + "}",
                          "chat_template has no template that is named default");
  }
}

// What is nested by the million must not be taken apart by recursion, whether it is JSON or ends early.
TEST_F(ChatTemplateSource, DeepNestingIsRefused) {
  constexpr size_t kLevels = 2'000'000;
  const std::string open(kLevels, '[');
  expect_template_error("{\"a\": " + open, "nested deeper than 64 levels");
  expect_template_error("{\"a\": " + open + std::string(kLevels, ']') + "}",
                        "nested deeper than 64 levels");
  std::string objects;
  for (size_t i = 0; i < kLevels / 8; ++i) objects += "{\"a\":";
  expect_template_error(objects, "nested deeper than 64 levels");
}

}  // namespace
}  // namespace dunlin

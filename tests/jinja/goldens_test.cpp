// Every template of the corpus gives what Python's Jinja2 gives (tools/make_template_goldens.py),
// text or error.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/jinja/chat_template.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Json read_data(const std::string& name) {
  return Json::parse(read_file(std::string(DUNLIN_SOURCE_DIR "/tests/jinja/data/") + name));
}

Result<std::string> render(const std::string& source, const ChatInputs& inputs) {
  DUNLIN_ASSIGN_OR_RETURN(const ChatTemplate chat_template, ChatTemplate::parse(source, "test"));
  DUNLIN_ASSIGN_OR_RETURN(const auto spans, chat_template.render(inputs));
  return join_spans(spans);
}

// Where Python reports what the template's author or the values say, our message says the same.
bool message_is_compared(const std::string& type) {
  return type == "TemplateError" || type == "UndefinedError" || type == "SecurityError";
}

void expect_golden(const Json& golden, const Result<std::string>& result) {
  if (golden.contains("expected")) {
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(*result, golden["expected"].get<std::string>());
    return;
  }
  ASSERT_FALSE(result.ok()) << "rendered '" << *result << "' instead of " << golden["message"];
  EXPECT_EQ(result.error().message.rfind("test:", 0), 0U) << result.error().message;
  if (!message_is_compared(golden["error"])) return;
  const std::string message = golden["message"];
  const std::string expected = message.substr(0, message.find(" is unsafe."));
  if (message.find("Chat templates cannot store") != message.npos) return;
  EXPECT_NE(result.error().message.find(expected), std::string::npos)
      << result.error().message << " / " << message;
}

TEST(Goldens, Constructs) {
  const Json cases = read_data("constructs.json");
  ASSERT_GT(cases.size(), 250U);
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden["name"].get<std::string>() + ": " + golden["template"].get<std::string>());
    ChatInputs inputs;
    inputs.bos_token = "<s>";
    inputs.eos_token = "</s>";
    inputs.variables = golden["variables"];
    expect_golden(golden, render(golden["template"], inputs));
  }
}

void expect_conversations(const std::string& source, const Json& cases) {
  const Json data = read_data("conversations.json");
  ASSERT_GT(cases.size(), 0U);
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden["conversation"].get<std::string>() +
                 (golden["prompt"] ? " with prompt" : "") + (golden["tools"] ? " with tools" : ""));
    ChatInputs inputs;
    inputs.bos_token = "<s>";
    inputs.eos_token = "</s>";
    inputs.messages = data["conversations"][golden["conversation"].get<std::string>()];
    inputs.add_generation_prompt = golden["prompt"];
    if (golden["tools"]) inputs.tools = data["tools"];
    expect_golden(golden, render(source, inputs));
  }
}

TEST(Goldens, ChatTemplates) {
  for (const Json& golden : read_data("chat.json")) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    expect_conversations(golden["template"], golden["cases"]);
  }
}

// The templates of real models, which the tree does not hold: DUNLIN_TEST_DATA names the folder
// that does.
class RealTemplate : public testing::TestWithParam<std::string> {};

std::vector<std::string> real_names() {
  std::vector<std::string> names;
  for (const Json& golden : read_data("real.json")) names.push_back(golden["name"]);
  return names;
}

TEST_P(RealTemplate, GivesWhatPythonGives) {
  const char* data = std::getenv("DUNLIN_TEST_DATA");
  if (!data) GTEST_SKIP() << "DUNLIN_TEST_DATA is not set";
  const std::string path =
      std::string(data) + "/tokenizers/" + GetParam() + "/tokenizer_config.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const Json config = Json::parse(read_file(path), nullptr, false);
  ASSERT_FALSE(config.is_discarded()) << path;
  for (const Json& golden : read_data("real.json")) {
    if (golden["name"] == GetParam())
      expect_conversations(config["chat_template"], golden["cases"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, RealTemplate, testing::ValuesIn(real_names()));

// As Python 3.11 says.
TEST(Goldens, LettersThatBecomeSeveralOrHaveATitleForm) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{{ 'İ'.lower()|length }}", "2"},
      {"{{ 'İX'.lower() }}", "i\u0307x"},
      {"{{ 'İ'.upper() }}", "İ"},
      {"{{ 'ǆ'.title() }}", "ǅ"},
      {"{{ 'ǆǆ'.upper() }}", "ǄǄ"},
      {"{{ 'ǆ'|title }}", "Ǆ"},
      {"{{ 'ǆx'|capitalize }}", "ǅx"},
      {"{{ 'straße'|upper }}", "STRASSE"},
      {"{{ 'ßa'|capitalize }}", "Ssa"},
      {"{{ 'ẞ'|upper ~ 'ẞ'|lower }}", "ẞß"},
      {"{{ 'ﬁne'|upper ~ 'ﬁne'.title() }}", "FINEFine"},
      {"{{ 'ŉ'|upper }}", "ʼN"},
      {"{{ 'ᾳ'|upper ~ 'ᾳ'.title() }}", "ΑΙᾼ"}};
  for (const auto& [source, expected] : cases) EXPECT_EQ(*render(source, {}), expected) << source;
}

TEST(Goldens, TheClockOfTheInputsIsFormatted) {
  ChatInputs inputs;
  inputs.now = std::tm{};
  inputs.now->tm_mday = 7;
  inputs.now->tm_mon = 1;
  inputs.now->tm_year = 126;
  EXPECT_EQ(*render("{{ strftime_now('%d %b %Y|%Y-%m-%d 100%%') }}", inputs),
            "07 Feb 2026|2026-02-07 100%");
  EXPECT_FALSE(render("{{ strftime_now('%9999d') }}", inputs).ok());
  EXPECT_FALSE(render("{{ strftime_now('%') }}", inputs).ok());
}

TEST(Goldens, ErrorsNameTemplateLineColumnAndCause) {
  ChatInputs inputs;
  const auto syntax = ChatTemplate::parse("a\nb\n{% if x %}\n{{ 1 + }}", "model/chat_template");
  ASSERT_FALSE(syntax.ok());
  EXPECT_EQ(syntax.error().kind, ErrorKind::model);
  EXPECT_EQ(syntax.error().message,
            "model/chat_template:4:8: the tag ends where an expression is expected");
  const auto run = render("a\n\n{{ raise_exception('roles') }}", inputs);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().kind, ErrorKind::usage);
  EXPECT_EQ(run.error().message, "test:3:4: roles");
  const auto in_macro = render("{% macro m(x) %}\n{{ x }}{% endmacro %}\n\n{{ m(1) + 1 }}", inputs);
  EXPECT_EQ(in_macro.error().message.rfind("test:4:9: ", 0), 0U) << in_macro.error().message;
}

TEST(Goldens, ArgumentErrorsNameTheParameter) {
  const ChatInputs inputs;
  EXPECT_EQ(render("{{ range('1', 2) }}", inputs).error().message,
            "test:1:4: range(): 'start' must be an integer");
  EXPECT_EQ(render("{{ 'a' | replace('a') }}", inputs).error().message,
            "test:1:10: replace() misses 'new'");
  EXPECT_EQ(render("{{ 'a' | trim(x=1) }}", inputs).error().message,
            "test:1:10: trim() has no parameter 'x'");
}

TEST(Goldens, TagsThatReachOtherFilesAreRefused) {
  for (const char* tag :
       {"include 'x'", "import 'x' as y", "extends 'x'", "from 'x' import y", "block b", "do x"}) {
    const auto parsed = ChatTemplate::parse(std::string("{% ") + tag + " %}", "t");
    ASSERT_FALSE(parsed.ok()) << tag;
    EXPECT_NE(parsed.error().message.find("not supported"), std::string::npos)
        << parsed.error().message;
  }
}

}  // namespace
}  // namespace dunlin

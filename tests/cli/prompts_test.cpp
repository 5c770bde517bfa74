// Batches of prompts, line by line.
#include "cli/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Ids = std::vector<int32_t>;

Result<std::vector<Result<Prompt>>> read(const std::string& text) {
  std::FILE* const file = std::tmpfile();
  std::fwrite(text.data(), 1, text.size(), file);
  std::rewind(file);
  LineReader reader(fileno(file), "p.jsonl");
  auto prompts = read_prompts(reader);
  std::fclose(file);
  return prompts;
}

Error error_of(const std::string& line) {
  const auto prompts = read("first\n" + line + "\nlast\n");
  EXPECT_EQ(prompts->size(), 3u);
  EXPECT_TRUE(prompts->at(0).ok());
  EXPECT_EQ(prompts->at(2)->text, "last");
  return prompts->at(1).error();
}

TEST(ReadPrompts, TakesTextConversationsAndIds) {
  const auto prompts = read(
      "\xef\xbb\xbfplain text\r\n\n  {\"prompt\": \"a\\nb\", \"max_tokens\": 5, \"stop\": [\"x\", "
      "\"y\"]}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n{\"ids\": [1, 2]}\n[3]");
  ASSERT_TRUE(prompts.ok()) << prompts.error().message;
  ASSERT_EQ(prompts->size(), 5u);
  EXPECT_EQ(prompts->at(0)->text, "plain text");
  EXPECT_EQ(prompts->at(0)->where, "p.jsonl:1");
  EXPECT_EQ(prompts->at(1)->text, "a\nb");
  EXPECT_EQ(prompts->at(1)->where, "p.jsonl:3");
  EXPECT_EQ(prompts->at(1)->settings,
            (std::vector<std::pair<std::string, std::string>>{{"max_tokens", "5"}}));
  EXPECT_EQ(prompts->at(1)->stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(prompts->at(2)->stop, std::nullopt);
  EXPECT_EQ(prompts->at(2)->messages->at(0)["content"], "hi");
  EXPECT_EQ(*prompts->at(3)->ids, (Ids{1, 2}));
  EXPECT_EQ(prompts->at(4)->text, "[3]");
}

TEST(ReadPrompts, ALineThatIsNoPromptHasItsOwnError) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"prompt\": \"a\"", "not valid JSON at line 1, column 15"},
      {"{name}, hello", "not valid JSON at line 1, column 3; a line of text cannot begin with {"},
      {"{\"prompt\": \"a\"} trailing", "not valid JSON"},
      {"{\"prompt\": \"\xff\"}", "not valid JSON"},
      {"{\"prompt\": \"a\", \"prompt\": \"b\"}", "the key \"prompt\" occurs twice"},
      {"{}", "needs one of \"prompt\", \"messages\" and \"ids\", and has none"},
      {"{\"promt\": \"a\"}", "and has none"},
      {"{\"prompt\": \"a\", \"ids\": [1]}", "has prompt and ids"},
      {"{\"prompt\": 1}", "prompt is not a string"},
      {"{\"prompt\": \"a\", \"max_tokns\": 1}",
       "max_tokns is not a setting; did you mean max-tokens?"},
      {"{\"prompt\": \"a\", \"note\": 1}", "note is not a setting"},
      {"{\"prompt\": \"a\", \"max_tokens\": 1.5}", "max-tokens: \"1.5\" is not an integer"},
      {"{\"prompt\": \"a\", \"temperature\": -1}", "temperature is -1"},
      {"{\"prompt\": \"a\", \"stop\": [\"\"]}", "stop is neither a text nor a list of texts"},
      {"{\"messages\": \"a\"}", "messages is not an array"},
      {"{\"ids\": 1}", "ids is not an array"},
      {"{\"ids\": [1.5]}", "ids holds 1.5, which is not a token id"},
      {"{\"ids\": [-1]}", "ids holds -1"},
      {"{\"ids\": [2147483648]}", "ids holds 2147483648"},
      {"{\"messages\": " + std::string(100, '['), "nested deeper"}};
  for (const auto& [line, problem] : cases) {
    const Error error = error_of(line);
    EXPECT_EQ(error.kind, ErrorKind::usage);
    EXPECT_THAT(error.message, StartsWith("p.jsonl:2: ")) << line;
    EXPECT_THAT(error.message, HasSubstr(problem)) << line;
  }
}

TEST(ReadPrompts, AnInputWithoutPromptsIsAnError) {
  for (const char* text : {"", "\n", "\r\n\n"})
    EXPECT_EQ(read(text).error().message, "p.jsonl: no prompts");
}

TEST(ReadPrompts, ALineWithoutEndIsAnError) {
  const auto prompts = read(std::string(LineReader::kMaxLine + 5000, 'a'));
  EXPECT_THAT(prompts.error().message, StartsWith("p.jsonl: a line has more than "));
}

TEST(ParseIds, TakesAListWithOrWithoutBrackets) {
  EXPECT_EQ(*parse_ids("3"), (Ids{3}));
  EXPECT_EQ(*parse_ids("1,2,3"), (Ids{1, 2, 3}));
  EXPECT_EQ(*parse_ids("[3, 4,5]"), (Ids{3, 4, 5}));
  for (const char* text : {"", "[]", "1,", ",1", "1,,2", "1 2", "-1", "0x1", "01", "1.0", "[1", "a",
                           "2147483648", "[[1]]"}) {
    const auto ids = parse_ids(text);
    ASSERT_FALSE(ids.ok()) << text;
    EXPECT_EQ(ids.error().kind, ErrorKind::usage);
    EXPECT_THAT(ids.error().message, StartsWith("--prompt-ids ")) << text;
  }
}

}  // namespace
}  // namespace dunlin

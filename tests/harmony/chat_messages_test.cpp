// Messages of chat programs as Harmony.
#include "tokenizer/harmony/chat_messages.h"

#include <gtest/gtest.h>

#include <utility>

#include "harmony_data.h"
#include "tokenizer/harmony/render.h"

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTools = R"([{"type": "function", "function": {"name": "get_weather",
  "description": "The weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
  "required": ["city"]}}}, {"type": "function", "function": {"name": "now"}}])";

std::string rendered(const std::string& messages, const Json& tools = nullptr,
                     const ChatSettings& settings = {}) {
  const auto conversation = read_chat(Json::parse(messages), tools, settings);
  if (!conversation.ok()) return "error: " + conversation.error().message;
  // Every prompt begins with the system message, and ends with the assistant's turn.
  const std::string text = marked_text(render(*conversation));
  const std::string end = "Channel must be included for every message.";
  const size_t body = text.find(end) + end.size();
  EXPECT_TRUE(text.ends_with("«start»assistant")) << text;
  return text.substr(body, text.rfind("«start»assistant") - body);
}

TEST(ReadChat, RolesAndParts) {
  EXPECT_EQ(
      rendered(R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                         {"role": "assistant", "content": "Hello"},
                         {"role": "user", "name": "bob", "content": [{"type": "text", "text": "a"},
                                                                     {"type": "text", "text": "b"}]}])"),
      "«end»«start»developer«message»# Instructions\n\nBe brief.«end»«start»user«message»Hi«end»"
      "«start»assistant«channel»final«message»Hello«end»«start»user:bob«message»ab«end»");
  EXPECT_EQ(rendered("[]"), "«end»");
}

TEST(ReadChat, EffortAndDateAreInTheSystemMessage) {
  const auto conversation =
      read_chat(Json::array(), nullptr, {.effort = ReasoningEffort::high, .date = "2026-01-02"});
  const std::string text = marked_text(render(*conversation));
  EXPECT_NE(text.find("Knowledge cutoff: 2024-06\nCurrent date: 2026-01-02\n\nReasoning: high\n\n"),
            std::string::npos)
      << text;
}

TEST(ReadChat, ToolsStandInTheDevelopersMessage) {
  const std::string tools =
      "# Tools\n\n## functions\n\nnamespace functions {\n\n// The weather.\ntype get_weather = (_: "
      "{\n"
      "city: string,\n}) => any;\n\ntype now = () => any;\n\n} // namespace functions«end»";
  const std::string line =
      "\nCalls to these tools must go to the commentary channel: 'functions'.«end»«start»developer"
      "«message»";
  const Json list = Json::parse(kTools);
  EXPECT_EQ(rendered(R"([{"role": "user", "content": "Hi"}])", list),
            line + tools + "«start»user«message»Hi«end»");
  EXPECT_EQ(rendered(R"([{"role": "developer", "content": "Be brief."}])", list),
            line + "# Instructions\n\nBe brief.\n\n" + tools);
  EXPECT_EQ(rendered("[]", Json::array()), "«end»");
}

TEST(ReadChat, CallsAndTheirResults) {
  EXPECT_EQ(
      rendered(R"([{"role": "user", "content": "Hi"},
        {"role": "assistant", "reasoning": "two calls", "content": "I look.", "tool_calls": [
          {"id": "1", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
          {"id": "2", "function": {"name": "g", "arguments": {"b": [2]}}}]},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "tool", "tool_call_id": "2", "content": null},
        {"role": "tool", "content": "last"}, {"role": "tool", "name": "h", "content": "named"}])"),
      "«end»«start»user«message»Hi«end»«start»assistant«channel»analysis«message»two calls«end»"
      "«start»assistant«channel»commentary«message»I look.«end»"
      "«start»assistant to=functions.f«channel»commentary «constrain»json«message»{\"a\": 1}«call»"
      "«start»assistant to=functions.g«channel»commentary «constrain»json«message»{\"b\":[2]}«call»"
      "«start»functions.f to=assistant«channel»commentary«message»one«end»"
      "«start»functions.g to=assistant«channel»commentary«message»«end»"
      "«start»functions.g to=assistant«channel»commentary«message»last«end»"
      "«start»functions.h to=assistant«channel»commentary«message»named«end»");
}

TEST(ReadChat, ThoughtsGoUnderThreeNames) {
  for (const std::string name : {"reasoning", "reasoning_content", "thinking"}) {
    const std::string thought = R"({"role": "assistant", ")" + name + R"(": "hm", "content": "A"})";
    EXPECT_EQ(rendered("[" + thought + "]"), "«end»«start»assistant«channel»final«message»A«end»");
    const std::string pending = R"({"role": "assistant", ")" + name + R"(": "hm", "content": ""})";
    EXPECT_EQ(rendered("[" + pending + "]"),
              "«end»«start»assistant«channel»analysis«message»hm«end»");
  }
}

TEST(ReadChat, ErrorsNameTheMessageAndTheField) {
  const auto expect = [](const std::string& messages, const std::string& part,
                         const Json& tools = nullptr) {
    const auto conversation = read_chat(Json::parse(messages), tools, {});
    ASSERT_FALSE(conversation.ok()) << messages;
    EXPECT_EQ(conversation.error().kind, ErrorKind::usage);
    EXPECT_NE(conversation.error().message.find(part), std::string::npos)
        << conversation.error().message;
  };
  expect("{}", "messages is not a list");
  expect("[1]", "messages[0]: not an object");
  expect(R"([{"role": "user", "content": "a"}, {"role": "bot"}])",
         "messages[1]: role \"bot\" is none of");
  expect(R"([{"content": "a"}])", "messages[0]: role \"\" is none of");
  expect(R"([{"role": "user", "content": 1}])", "messages[0]: content is not a text");
  expect(R"([{"role": "user", "content": [{"type": "image_url"}]}])",
         "messages[0]: content has a part");
  expect(R"([{"role": "user", "content": [1]}])", "messages[0]: content has a part");
  expect(R"([{"role": "assistant", "thinking": 1}])", "messages[0]: thinking is not a text");
  expect(R"([{"role": "assistant", "tool_calls": {}}])", "messages[0]: tool_calls is not a list");
  expect(R"([{"role": "assistant", "tool_calls": [1]}])", "tool_calls: not an object");
  expect(R"([{"role": "assistant", "tool_calls": [{}]}])", "a call without a function");
  expect(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])", "a call without a name");
  expect(R"([{"role": "tool", "content": "x"}])",
         "messages[0]: the result of a tool that was not called");
  expect("[]", "tools is not a list", Json::object());
  expect("[]", "tools[0]: not a", Json::parse("[{}]"));
  expect("[]", "tools[0]: the function has no name", Json::parse(R"([{"function": {}}])"));
  Json deep = {{"type", "string"}};
  for (int i = 0; i < 70; ++i) {
    Json outer = {{"type", "array"}};
    outer["items"] = std::move(deep);
    deep = std::move(outer);
  }
  Json tools = Json::parse(R"([{"function": {"name": "f"}}])");
  tools[0]["function"]["parameters"] = std::move(deep);
  expect("[]", "tools[0]: parameters: the schema has more than", tools);
}

}  // namespace
}  // namespace dunlin::harmony

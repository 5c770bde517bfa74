// Conversations as text, against openai-harmony, and what becomes a special token.
#include "tokenizer/harmony/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "harmony_data.h"
#include "support/harmony_tokenizer.h"
#include "tokenizer/harmony/schema_type.h"

namespace dunlin::harmony {
namespace {

using Json = nlohmann::ordered_json;

std::string text_or_empty(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

// Keys that are there and null leave the field out.
void take(const Json& object, const char* key, std::optional<std::string>& field) {
  if (!object.contains(key)) return;
  field = object[key].is_null() ? std::nullopt : std::optional(object[key].get<std::string>());
}

class Conversations : public testing::Test {
 protected:
  std::string expand(std::string text) const {
    for (const auto& [name, part] : golden_["parts"].items()) {
      const std::string mark = "{" + name + "}";
      const auto whole = part.get<std::string>();
      for (size_t at = text.find(mark); at != std::string::npos;
           at = text.find(mark, at + whole.size()))
        text.replace(at, mark.size(), whole);
    }
    return text;
  }

  std::vector<ToolNamespace> namespaces(const Json& object) const {
    std::vector<ToolNamespace> spaces;
    for (const Json& each : object.value("namespaces", Json::array())) {
      ToolNamespace space{.name = each["name"], .description = text_or_empty(each, "description")};
      for (const Json& index : each["tools"])
        space.tools.push_back(read_tool(golden_["tools"][index.get<size_t>()]));
      spaces.push_back(std::move(space));
    }
    return spaces;
  }

  static Tool read_tool(const Json& given) {
    Tool tool{.name = given["name"], .description = given["description"]};
    if (given.contains("parameters")) tool.parameters = schema_type(given["parameters"]).value();
    return tool;
  }

  SystemContent system(const Json& given) const {
    SystemContent content;
    take(given, "identity", content.identity);
    take(given, "knowledge_cutoff", content.knowledge_cutoff);
    take(given, "date", content.date);
    if (given.contains("effort"))
      content.effort =
          given["effort"].is_null() ? std::nullopt : effort_of(given["effort"].get<std::string>());
    if (given.contains("channels")) {
      content.channels = given["channels"].is_null()
                             ? std::vector<std::string>()
                             : given["channels"].get<std::vector<std::string>>();
    }
    content.channel_required = given.value("channel_required", true);
    content.tools = namespaces(given);
    return content;
  }

  Message message(const Json& given) const {
    Message message;
    Header& header = message.header;
    header.role = role_of(given.value("role", "assistant")).value();
    header.name = text_or_empty(given, "name");
    header.recipient = text_or_empty(given, "recipient");
    header.channel = text_or_empty(given, "channel");
    header.content_type = text_or_empty(given, "content_type");
    if (header.content_type.starts_with(kConstrain)) {
      header.constrained = true;
      header.content_type.erase(0, kConstrain.size());
    }
    if (given.contains("system")) {
      message.content = system(given["system"]);
    } else if (given.contains("developer")) {
      DeveloperContent content{.tools = namespaces(given["developer"])};
      take(given["developer"], "instructions", content.instructions);
      message.content = std::move(content);
    } else {
      message.content = expand(given["text"]);
    }
    return message;
  }

  Conversation conversation(const Json& messages) const {
    Conversation result;
    for (const Json& each : messages) result.push_back(message(each));
    return result;
  }

  Json golden_ = load_golden("conversations.json");
};

TEST_F(Conversations, EqualTheReference) {
  const Json& cases = golden_["conversations"];
  ASSERT_GE(cases.size(), 200u);
  int dropped = 0;
  for (const Json& each : cases) {
    const RenderOptions options{.drop_analysis = each["drop"]};
    const auto spans = render(conversation(each["messages"]), options);
    EXPECT_EQ(marked_text(spans), expand(each["text"])) << each["messages"];
    dropped += options.drop_analysis ? 1 : 0;
  }
  EXPECT_GE(dropped, 100);
  EXPECT_GE(std::ssize(cases) - dropped, 50);
}

// The ids have as many marks as the text has of ours, and say the same text.
TEST_F(Conversations, TextNeverBecomesASpecialToken) {
  for (const Json& each : golden_["conversations"]) {
    const auto spans = render(conversation(each["messages"]));
    const auto ids = small_tokenizer()->encode(spans, kAllMarks).value();
    std::string text;
    size_t marks = 0;
    for (size_t i = 0; i < spans.size(); ++i) {
      EXPECT_FALSE(spans[i].text.empty());
      EXPECT_TRUE(i == 0 || spans[i].allow_special != spans[i - 1].allow_special);
      text += spans[i].text;
      for (size_t at = 0; spans[i].allow_special && at < spans[i].text.size(); ++marks)
        at = spans[i].text.find("|>", at) + 2;
    }
    EXPECT_EQ(small_tokenizer()->decode(ids, /*skip_special=*/false), text);
    EXPECT_EQ(
        std::ranges::count_if(ids, [](int32_t id) { return small_tokenizer()->is_special(id); }),
        static_cast<ptrdiff_t>(marks));
    EXPECT_EQ(ids, ids_of(marked_text(spans)));
  }
}

Message answered(std::string_view channel, const std::string& text) {
  return {.header = {.role = Role::assistant, .channel = std::string(channel)}, .content = text};
}
Message asked(const std::string& text) {
  return {.header = {.role = Role::user}, .content = text};
}

TEST(History, ThoughtsBeforeTheLastAnswerAreLeftOut) {
  Conversation conversation = {asked("1"), answered(kAnalysis, "a1"), answered(kFinal, "f1"),
                               asked("2"), answered(kAnalysis, "a2"), answered(kFinal, "f2"),
                               asked("3"), answered(kAnalysis, "a3")};
  const std::string begin =
      "«start»user«message»1«end»«start»assistant«channel»final«message»f1«end»"
      "«start»user«message»2«end»«start»assistant«channel»final«message»f2«end»"
      "«start»user«message»3«end»";
  const std::string prompt = "«start»assistant";
  EXPECT_EQ(marked_text(render(conversation)),
            begin + "«start»assistant«channel»analysis«message»a3«end»" + prompt);
  conversation.push_back({.header = {.role = Role::assistant,
                                     .recipient = "functions.f",
                                     .channel = std::string(kCommentary),
                                     .content_type = "json",
                                     .constrained = true},
                          .content = "{}"});
  conversation.push_back({.header = {.role = Role::tool,
                                     .name = "functions.f",
                                     .recipient = "assistant",
                                     .channel = std::string(kCommentary)},
                          .content = "7"});
  EXPECT_EQ(
      marked_text(render(conversation)),
      begin +
          "«start»assistant«channel»analysis«message»a3«end»"
          "«start»assistant to=functions.f«channel»commentary «constrain»json«message»{}«call»"
          "«start»functions.f to=assistant«channel»commentary«message»7«end»" +
          prompt);
  conversation.push_back(answered(kFinal, "f3"));
  const std::string over = marked_text(render(conversation, {.generation_prompt = false}));
  EXPECT_EQ(over.find("analysis"), std::string::npos) << over;
  EXPECT_TRUE(over.ends_with("«start»assistant«channel»final«message»f3«end»")) << over;
  const std::string all = marked_text(render(conversation, {.drop_analysis = false}));
  for (const char* thought : {"a1", "a2", "a3"}) EXPECT_NE(all.find(thought), std::string::npos);
}

// The bytes of openai-harmony's test_simple_convo, as the file format's description has them.
TEST(Render, ADefaultSystemMessage) {
  const Conversation conversation = {
      {.header = {.role = Role::system}, .content = SystemContent()}};
  EXPECT_EQ(
      marked_text(render(conversation, {.generation_prompt = false})),
      "«start»system«message»You are ChatGPT, a large language model trained by OpenAI.\n"
      "Knowledge cutoff: 2024-06\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, "
      "final. Channel must be included for every message.«end»");
  EXPECT_TRUE(render({}, {.generation_prompt = false}).empty());
}

TEST(Marks, AreFoundOnlyWhereAllOfThemAre) {
  EXPECT_EQ(small_marks().start, harmony_id("<|start|>"));
  EXPECT_THAT(
      small_marks().stop_ids(),
      testing::UnorderedElementsAreArray(harmony_ids({"<|return|>", "<|call|>", "<|endoftext|>"})));
  EXPECT_FALSE(small_marks().stops(harmony_id("<|end|>")));
  std::string other = harmony_tokenizer_json();
  const std::string call = "<|call|>";
  other.replace(other.find(call), call.size(), "<|gone|>");
  EXPECT_FALSE(find_marks(*Tokenizer::from_json_text(other, "other").value()).has_value());
}

}  // namespace
}  // namespace dunlin::harmony

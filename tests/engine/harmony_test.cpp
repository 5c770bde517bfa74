// Answers in Harmony: what is the text of an answer, what is said beside it, and what ends it. The
// tokens are scripted: a sampler of our own says them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine_driver.h"
#include "support/harmony_tokenizer.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::ordered_json;
using Tokens = std::vector<std::string_view>;

struct Spoken {
  Answer answer;
  std::vector<ChannelText> beside;  // one for each message
};

class EngineHarmony : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_harmony_model(folder_->path());
    driver_ = new EngineDriver(folder_->path(), {.threads = 1, .context = 512, .sequences = 2});
  }
  static void TearDownTestSuite() {
    delete driver_;
    delete folder_;
  }

  static const TextModel& text() { return driver_->model().text; }
  static Ids prompt() {
    return text().encode_chat(Json::array({{{"role", "user"}, {"content", "Hi"}}})).value();
  }

  // The answer of a model that says the tokens, and nothing behind them but <|end|>.
  static Spoken speak(const Tokens& tokens, Request request = {}) {
    const Ids script = harmony_ids(tokens);
    if (request.prompt.empty()) request.prompt = prompt();
    if (request.max_tokens < 0) request.max_tokens = 30;
    request.custom_sampler = [script](const SamplerInput& input) {
      const size_t next = input.tokens.size() - input.prompt_tokens;
      return next < script.size() ? script[next] : harmony_id("<|end|>");
    };
    Spoken spoken;
    const auto id = driver_->engine().submit(std::move(request), [&spoken](const Event& event) {
      spoken.answer.text += event.text;
      if (event.token) spoken.answer.ids.push_back(*event.token);
      for (const ChannelText& piece : event.channels) {
        // A prompt may have begun the message.
        if (piece.begins || spoken.beside.empty()) {
          spoken.beside.push_back(piece);
        } else {
          EXPECT_EQ(spoken.beside.back().channel, piece.channel);
          EXPECT_EQ(spoken.beside.back().recipient, piece.recipient);
          spoken.beside.back().text += piece.text;
        }
      }
      if (event.kind == Event::Kind::finished) spoken.answer.reason = event.reason;
    });
    EXPECT_TRUE(id.ok()) << id.error().message;
    driver_->engine().run_until_idle();
    return spoken;
  }

  static TemporaryFolder* folder_;
  static EngineDriver* driver_;
};

TemporaryFolder* EngineHarmony::folder_ = nullptr;
EngineDriver* EngineHarmony::driver_ = nullptr;

TEST_F(EngineHarmony, ThePromptIsRenderedNatively) {
  ASSERT_TRUE(text().harmony.has_value());
  EXPECT_TRUE(text().has_chat_format());
  EXPECT_FALSE(text().chat_template.has_value());
  const std::string written = text().tokenizer->decode(prompt(), /*skip_special=*/false);
  EXPECT_TRUE(written.ends_with(
      "for every message.<|end|><|start|>user<|message|>Hi<|end|><|start|>assistant"))
      << written;
  EXPECT_THAT(prompt(), testing::Contains(harmony_id("<|start|>")).Times(3));
}

TEST_F(EngineHarmony, OnlyTheFinalChannelIsText) {
  const Spoken spoken =
      speak({"<|channel|>", "analysis", "<|message|>", " hmm", " you", "<|end|>", "<|start|>",
             "assistant", "<|channel|>", "final", "<|message|>", "Hi", " there", "<|return|>"});
  EXPECT_EQ(spoken.answer.text, "Hi there");
  EXPECT_EQ(spoken.answer.reason, FinishReason::stop);
  EXPECT_EQ(spoken.answer.ids.size(), 13u);  // without <|return|>
  ASSERT_EQ(spoken.beside.size(), 1u);
  EXPECT_EQ(spoken.beside[0].channel, "analysis");
  EXPECT_EQ(spoken.beside[0].recipient, "");
  EXPECT_EQ(spoken.beside[0].text, " hmm you");
}

TEST_F(EngineHarmony, ACallEndsTheAnswer) {
  const Spoken spoken = speak({"<|channel|>", "commentary", " to=functions.f", "<|constrain|>",
                               "json", "<|message|>", "{}", "<|call|>", "Hi"});
  EXPECT_EQ(spoken.answer.text, "");
  EXPECT_EQ(spoken.answer.reason, FinishReason::stop);
  ASSERT_EQ(spoken.beside.size(), 1u);
  EXPECT_EQ(spoken.beside[0].channel, "commentary");
  EXPECT_EQ(spoken.beside[0].recipient, "functions.f");
  EXPECT_EQ(spoken.beside[0].text, "{}");
}

TEST_F(EngineHarmony, EndOfTextStopsAndEndDoesNot) {
  const auto& stops = driver_->model().stop_ids;
  EXPECT_THAT(stops,
              testing::IsSupersetOf(harmony_ids({"<|return|>", "<|call|>", "<|endoftext|>"})));
  EXPECT_THAT(stops, testing::Not(testing::Contains(harmony_id("<|end|>"))));
  const Spoken spoken = speak({"<|message|>", "Hi", "<|end|>", "<|endoftext|>", " you"});
  EXPECT_EQ(spoken.answer.text, "Hi");
  EXPECT_EQ(spoken.answer.ids.size(), 3u);
}

TEST_F(EngineHarmony, StopStringsAreLookedForInTheAnswerAlone) {
  const Tokens tokens = {"<|channel|>", "analysis",  "<|message|>", " you",  "<|end|>",
                         "<|start|>",   "assistant", "<|channel|>", "final", "<|message|>",
                         "Hi",          " there",    " you",        " hmm",  "<|return|>"};
  const Spoken spoken = speak(tokens, {.stop = {"there you", "analysis", " yo!"}});
  EXPECT_EQ(spoken.answer.text, "Hi ");
  EXPECT_EQ(spoken.answer.reason, FinishReason::stop);
  EXPECT_EQ(spoken.answer.ids.size(), 13u);
  EXPECT_EQ(spoken.beside[0].text, " you");
  // Held back for a stop string that did not come.
  EXPECT_EQ(speak(tokens, {.stop = {"hmm!"}}).answer.text, "Hi there you hmm");
}

TEST_F(EngineHarmony, APromptWithinAMessageIsGoneOnWith) {
  const auto after = [](const char* text) {
    return Request{.prompt = driver_->model().text.encode_raw(text).value()};
  };
  const Spoken thought =
      speak({" hmm", "<|return|>"}, after("<|start|>assistant<|channel|>analysis<|message|>I"));
  EXPECT_EQ(thought.answer.text, "");
  ASSERT_EQ(thought.beside.size(), 1u);
  EXPECT_FALSE(thought.beside[0].begins);
  EXPECT_EQ(thought.beside[0].text, " hmm");
  const Spoken answer =
      speak({" hmm", "<|return|>"}, after("<|start|>assistant<|channel|>final<|message|>I"));
  EXPECT_EQ(answer.answer.text, " hmm");
  EXPECT_TRUE(answer.beside.empty());
}

TEST_F(EngineHarmony, WithoutConversationAllIsText) {
  const Spoken spoken = speak({"analysis", " hmm", "<|message|>", " you", "<|return|>"},
                              {.prompt = text().encode_raw("Once").value()});
  EXPECT_EQ(spoken.answer.text, "analysis hmm you");
  EXPECT_TRUE(spoken.beside.empty());
}

TEST_F(EngineHarmony, TheEffortIsInThePrompt) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  const auto written = [&](std::optional<harmony::ReasoningEffort> effort) {
    return text().tokenizer->decode(text().encode_chat(messages, effort).value(), false);
  };
  EXPECT_NE(written(std::nullopt).find("Reasoning: medium\n"), std::string::npos);
  EXPECT_NE(written(harmony::ReasoningEffort::high).find("Reasoning: high\n"), std::string::npos);
}

}  // namespace
}  // namespace dunlin

// The C API's text by channel: of answers in Harmony, and of models that have no channels. The tokens
// are scripted: a sampler of our own says them.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "c_api_driver.h"
#include "library_models.h"
#include "support/harmony_tokenizer.h"

namespace {

struct Piece {
  std::string channel, recipient, text;
  bool begins = false;
};

// What a request says, and what it is to say.
struct Heard {
  Ids script = {};
  std::vector<Piece> pieces = {};  // not those that go on with the one before
  std::string answer = {};         // of on_event
  std::string before_events = {};  // of on_text, as "final", when on_event got the same text
  int events = 0;
  int calls = 0;
  int stop_after = -1;  // calls of on_text
};

int hear_text(void* user, const dunlin_channel_text* piece) {
  auto& heard = *static_cast<Heard*>(user);
  EXPECT_EQ(piece->struct_size, sizeof *piece);
  EXPECT_NE(piece->request, 0u);
  EXPECT_EQ(std::string_view(piece->text).size(), piece->text_size);
  EXPECT_EQ(piece->reserved, 0);
  const bool goes_on =
      !heard.pieces.empty() && piece->begins == 0 && heard.pieces.back().channel == piece->channel;
  if (!goes_on) heard.pieces.push_back({piece->channel, piece->recipient, "", piece->begins != 0});
  heard.pieces.back().text += piece->text;
  if (heard.pieces.back().channel == "final") heard.before_events += piece->text;
  return ++heard.calls == heard.stop_after;
}

int hear_event(void* user, const dunlin_event* event) {
  auto& heard = *static_cast<Heard*>(user);
  heard.answer += event->text;
  EXPECT_EQ(heard.answer, heard.before_events);
  ++heard.events;
  return 0;
}

int32_t say(void* user, const dunlin_logits* logits) {
  const auto& heard = *static_cast<Heard*>(user);
  const size_t next = logits->token_count - logits->prompt_count;
  return next < heard.script.size() ? heard.script[next] : dunlin::harmony_id("<|end|>");
}

class CApiChannels : public testing::Test {
 protected:
  CApiChannels() {
    const dunlin_message message = {"user", "Hi"};
    size_t count = 0;
    EXPECT_EQ(dunlin_encode_chat(engine_.get(), &message, 1, nullptr, &count), DUNLIN_ERROR_BUFFER);
    prompt_.resize(count);
    EXPECT_EQ(dunlin_encode_chat(engine_.get(), &message, 1, prompt_.data(), &count), DUNLIN_OK);
  }

  dunlin_request request(Heard& heard) const {
    dunlin_request request = {};
    request.struct_size = sizeof request;
    request.prompt = prompt_.data();
    request.prompt_count = prompt_.size();
    request.max_tokens = 30;
    request.on_event = hear_event;
    request.on_text = hear_text;
    request.user = &heard;
    request.sampler = say;
    return request;
  }

  EnginePtr engine_ = load(harmony_model());
  Ids prompt_ = {};
};

const std::vector<std::string_view> kThoughtAndAnswer = {
    "<|channel|>", "analysis",    "<|message|>", " hmm",        " you", "<|end|>", "<|start|>",
    "assistant",   "<|channel|>", "final",       "<|message|>", "Hi",   " there",  "<|return|>"};

TEST_F(CApiChannels, ThoughtsComeBeforeTheAnswer) {
  Heard heard{.script = dunlin::harmony_ids(kThoughtAndAnswer)};
  const dunlin_request asked = request(heard);
  ASSERT_EQ(dunlin_generate(engine_.get(), &asked), DUNLIN_OK) << dunlin_last_error();
  ASSERT_EQ(heard.pieces.size(), 2u);
  EXPECT_EQ(heard.pieces[0].channel, "analysis");
  EXPECT_EQ(heard.pieces[0].recipient, "");
  EXPECT_EQ(heard.pieces[0].text, " hmm you");
  EXPECT_TRUE(heard.pieces[0].begins);
  EXPECT_EQ(heard.pieces[1].channel, "final");
  EXPECT_EQ(heard.pieces[1].text, "Hi there");
  EXPECT_FALSE(heard.pieces[1].begins);
  EXPECT_EQ(heard.answer, "Hi there");
}

TEST_F(CApiChannels, ACallNamesItsRecipient) {
  Heard heard{.script =
                  dunlin::harmony_ids({"<|channel|>", "commentary", " to=functions.f",
                                       "<|constrain|>", "json", "<|message|>", "{}", "<|call|>"})};
  const dunlin_request asked = request(heard);
  ASSERT_EQ(dunlin_generate(engine_.get(), &asked), DUNLIN_OK) << dunlin_last_error();
  ASSERT_EQ(heard.pieces.size(), 1u);
  EXPECT_EQ(heard.pieces[0].channel, "commentary");
  EXPECT_EQ(heard.pieces[0].recipient, "functions.f");
  EXPECT_EQ(heard.pieces[0].text, "{}");
  EXPECT_EQ(heard.answer, "");
}

TEST_F(CApiChannels, ItsCallbackCancels) {
  Heard heard{.script = dunlin::harmony_ids(kThoughtAndAnswer), .stop_after = 2};
  const dunlin_request asked = request(heard);
  EXPECT_EQ(dunlin_generate(engine_.get(), &asked), DUNLIN_ERROR_CANCELLED);
  EXPECT_EQ(heard.calls, 2);
  EXPECT_EQ(heard.answer, "");
  ASSERT_EQ(heard.pieces.size(), 1u);
}

TEST_F(CApiChannels, WorksWithoutEvents) {
  Heard heard{.script = dunlin::harmony_ids(kThoughtAndAnswer)};
  dunlin_request asked = request(heard);
  asked.on_event = nullptr;
  ASSERT_EQ(dunlin_generate(engine_.get(), &asked), DUNLIN_OK) << dunlin_last_error();
  ASSERT_EQ(heard.pieces.size(), 2u);
  EXPECT_EQ(heard.pieces[1].text, "Hi there");
  EXPECT_EQ(heard.events, 0);
}

// A program of an older header has a smaller struct: what lies behind it is not read.
TEST_F(CApiChannels, AnOlderRequestHasNoTextCallback) {
  Heard heard{.script = dunlin::harmony_ids(kThoughtAndAnswer)};
  dunlin_request asked = request(heard);
  asked.struct_size = offsetof(dunlin_request, on_text);
  asked.on_event = [](void* user, const dunlin_event* event) {
    static_cast<Heard*>(user)->answer += event->text;
    return 0;
  };
  ASSERT_EQ(dunlin_generate(engine_.get(), &asked), DUNLIN_OK) << dunlin_last_error();
  EXPECT_EQ(heard.calls, 0);
  EXPECT_EQ(heard.answer, "Hi there");
}

// It says its prompt again.
TEST(CApiPlainText, IsTheFinalChannel) {
  const EnginePtr engine = load(text_model());
  Ids prompt(64);
  size_t count = prompt.size();
  ASSERT_EQ(dunlin_encode(engine.get(), "Hello there", 11, prompt.data(), &count), DUNLIN_OK);
  prompt.resize(count);
  Heard heard{.script = prompt};
  dunlin_request asked = {};
  asked.struct_size = sizeof asked;
  asked.prompt = prompt.data();
  asked.prompt_count = count;
  asked.max_tokens = static_cast<int64_t>(count);
  asked.on_event = hear_event;
  asked.on_text = hear_text;
  asked.user = &heard;
  asked.sampler = say;
  asked.ignore_eos = 1;
  ASSERT_EQ(dunlin_generate(engine.get(), &asked), DUNLIN_OK) << dunlin_last_error();
  ASSERT_EQ(heard.pieces.size(), 1u);
  EXPECT_EQ(heard.pieces[0].channel, "final");
  EXPECT_EQ(heard.pieces[0].text, "Hello there");
  EXPECT_EQ(heard.answer, "Hello there");
}

}  // namespace

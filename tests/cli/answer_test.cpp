// What is shown of an answer while it comes.
#include "cli/answer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace dunlin {
namespace {

Event token_event(std::string text, std::vector<ChannelText> channels = {}) {
  Event event;
  event.token = 7;
  event.text = std::move(text);
  event.channels = std::move(channels);
  return event;
}

Event thought(std::string text, bool begins) {
  return token_event({}, {{.channel = "analysis", .text = std::move(text), .begins = begins}});
}

TEST(Answer, TellsHowLongTheModelHasBeenThinking) {
  Answer answer;
  EXPECT_EQ(thinking_text(answer), "");
  answer.receive(token_event({}));  // of the header
  EXPECT_EQ(thinking_text(answer), "");
  answer.receive(thought("Hm", true));
  answer.receive(thought("m.", false));
  EXPECT_EQ(thinking_text(answer), "thinking 3 tokens");
  answer.receive(token_event("42"));
  EXPECT_EQ(thinking_text(answer), "");
}

TEST(Answer, ThinkingEndsWithTheAnswerAndIsNotToldWhereItIsShown) {
  Answer answer;
  answer.receive(thought("Hmm", true));
  EXPECT_EQ(thinking_text(answer), "thinking 1 token");
  Event finished;
  finished.kind = Event::Kind::finished;
  answer.receive(finished);
  EXPECT_EQ(thinking_text(answer), "");

  Answer shown;
  shown.show_reasoning = true;
  shown.receive(thought("Hmm", true));
  EXPECT_EQ(thinking_text(shown), "");
}

TEST(Answer, ACallIsThoughtOf) {
  Answer answer;
  answer.receive(token_event(
      {}, {{.channel = "commentary", .recipient = "functions.f", .text = "{", .begins = true}}));
  answer.receive(
      token_event({}, {{.channel = "commentary", .recipient = "functions.f", .text = "}"}}));
  EXPECT_EQ(thinking_text(answer), "thinking 2 tokens");
}

}  // namespace
}  // namespace dunlin

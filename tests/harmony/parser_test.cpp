// The parser's own reading of what openai-harmony refuses, one case each.
#include "tokenizer/harmony/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harmony_data.h"
#include "support/harmony_tokenizer.h"

namespace dunlin::harmony {
namespace {

using testing::ElementsAre;
using Ids = std::vector<int32_t>;

// Messages of an answer behind <|start|>assistant.
std::vector<Found> answer(std::string_view marked) {
  return parse(ids_of(marked), ids_of("«end»«start»assistant"));
}

Found said(std::string_view channel, const std::string& content) {
  return {.header = {.channel = std::string(channel)}, .content = content, .ended = true};
}

Found called(const std::string& recipient, const std::string& content) {
  return {.header = {.recipient = recipient,
                     .channel = "commentary",
                     .content_type = "json",
                     .constrained = true},
          .content = content,
          .ended = true};
}

TEST(Parser, AThoughtAndAnAnswer) {
  EXPECT_THAT(
      answer("«channel»analysis«message»Hm.«end»«start»assistant«channel»final«message»42«return»"),
      ElementsAre(said("analysis", "Hm."), said("final", "42")));
}

TEST(Parser, ARecipientStandsInEitherPart) {
  const Found wanted = called("functions.f", "{}");
  for (const char* header :
       {" to=functions.f«channel»commentary «constrain»json",
        "«channel»commentary to=functions.f «constrain»json",
        "«channel»commentary to=functions.f«constrain»json",
        " to=functions.f«channel»commentary«constrain»json",
        "«channel»commentary to=functions.f «constrain» json",
        "«channel»commentary «constrain»json to=functions.f",
        "«channel»commentary to=functions.f«channel»commentary «constrain»json",
        "assistant to=functions.f«channel»commentary «constrain»json",
        "«reserved_200013» to=functions.f«channel»commentary «constrain»json"}) {
    EXPECT_THAT(answer(std::string(header) + "«message»{}«call»"), ElementsAre(wanted)) << header;
  }
}

TEST(Parser, MissingParts) {
  EXPECT_THAT(answer("«message»no channel«end»"), ElementsAre(said("", "no channel")));
  EXPECT_THAT(answer("«channel»«message»none«end»"), ElementsAre(said("", "none")));
  // Without <|start|>, without <|end|>, without both.
  EXPECT_THAT(answer("«channel»analysis«message»a«end»assistant«channel»final«message»b"),
              ElementsAre(said("analysis", "a"), said("final", "b")));
  EXPECT_THAT(answer("«channel»analysis«message»a«start»assistant«channel»final«message»b«return»"),
              ElementsAre(said("analysis", "a"), said("final", "b")));
  EXPECT_THAT(answer("«channel»analysis«message»a«end»«channel»final«message»b«return»"),
              ElementsAre(said("analysis", "a"), said("final", "b")));
}

TEST(Parser, WithoutMessageMarkTheRestOfTheHeaderIsContent) {
  EXPECT_THAT(answer("«channel»final 42 it is.«return»"), ElementsAre(said("final", " 42 it is.")));
  EXPECT_THAT(answer("Just text"), ElementsAre(said("", "Just text")));
  EXPECT_THAT(answer("assistant\nJust text«end»"), ElementsAre(said("", "\nJust text")));
  EXPECT_THAT(answer("«channel»final«end»"), ElementsAre());
  EXPECT_THAT(answer("«channel»analysis hm«start»assistant«channel»final«message»x«end»"),
              ElementsAre(said("analysis", " hm"), said("final", "x")));
  EXPECT_THAT(
      answer(" to=functions.f {}«call»"),
      ElementsAre(Found{.header = {.recipient = "functions.f"}, .content = " {}", .ended = true}));
}

TEST(Parser, AHeaderThatTheEndCutsShortIsNoText) {
  for (const char* header :
       {"", "assist", "assistant", "functions.get", "assistant to", "assistant to=functions.f",
        "functions.f to=assistant«channel»comm", "assistant«channel»commentary t",
        "assistant«channel»commentary to=functions.f «constrain»js"}) {
    EXPECT_THAT(answer(std::string("«channel»analysis«message»a«end»«start»") + header),
                ElementsAre(said("analysis", "a")))
        << header;
  }
  EXPECT_THAT(answer("«start»assistant 42 it is"), ElementsAre(said("", " 42 it is")));
  EXPECT_THAT(answer("«start»42 it is"), ElementsAre(said("", "42 it is")));
}

TEST(Parser, DoubledHeadersAreOne) {
  EXPECT_THAT(answer("«start»assistant«channel»final«message»x«end»"),
              ElementsAre(said("final", "x")));
  EXPECT_THAT(answer("«channel»analysis«channel»final«message»x«end»"),
              ElementsAre(said("final", "x")));
  EXPECT_THAT(answer("«start»«start»assistant«channel»final«message»x«end»«end»«end»"),
              ElementsAre(said("final", "x")));
}

TEST(Parser, TextOutsideOfMessagesIsNotLost) {
  EXPECT_THAT(answer("«message»a«end»stray«channel»final«message»b«end»"),
              ElementsAre(said("", "a"), said("", "stray"), said("final", "b")));
  EXPECT_THAT(answer("«message»a«end» \n«start»assistant«message»b«end»\n"),
              ElementsAre(said("", "a"), said("", "b")));
}

TEST(Parser, SpecialTokensWithoutMeaningAreText) {
  EXPECT_THAT(
      answer("«channel»final«message»a«channel»b«message»c«reserved_200013»«constrain»«end»"),
      ElementsAre(said("final", "a<|channel|>b<|message|>c<|reserved_200013|><|constrain|>")));
}

TEST(Parser, OtherAuthors) {
  const auto messages =
      parse(ids_of("«start»user:bob«message»a«end»«start»functions.f to=assistant"
                   "«channel»commentary«message»b«end»«start»tool«message»c«end»"));
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].header, (Header{.role = Role::user, .name = "bob"}));
  EXPECT_EQ(messages[1].header, (Header{.role = Role::tool,
                                        .name = "functions.f",
                                        .recipient = "assistant",
                                        .channel = "commentary"}));
  EXPECT_EQ(messages[2].header, (Header{.role = Role::tool, .name = "tool"}));
  for (const Found& each : messages) EXPECT_FALSE(is_answer(each.header));
}

std::vector<ParseEvent::Kind> kinds_of(std::string_view marked) {
  Parser parser(small_tokenizer(), small_marks());
  std::vector<ParseEvent::Kind> kinds;
  for (const int32_t id : ids_of(marked)) {
    for (const ParseEvent& event : parser.feed(id)) kinds.push_back(event.kind);
  }
  return kinds;
}

TEST(Parser, ReturnCallAndEndOfTextStopAndEndDoesNot) {
  using Kind = ParseEvent::Kind;
  for (const char* mark : {"«return»", "«call»", "«endoftext»"}) {
    EXPECT_THAT(kinds_of("«start»assistant«message»" + std::string(mark)),
                ElementsAre(Kind::begin, Kind::end, Kind::stop));
    EXPECT_THAT(kinds_of(mark), ElementsAre(Kind::stop));
  }
  EXPECT_THAT(kinds_of("«start»assistant«message»«end»"), ElementsAre(Kind::begin, Kind::end));
}

TEST(Parser, ContentComesAsSoonAsItIsCertain) {
  Parser parser(small_tokenizer(), small_marks());
  ASSERT_TRUE(parser.resume(ids_of("«start»assistant«channel»final«message»")));
  ASSERT_NE(parser.open_message(), nullptr);
  EXPECT_EQ(parser.open_message()->channel, "final");
  // U+00E9 in two tokens; then its first byte alone.
  EXPECT_TRUE(parser.feed(0xC3).empty());
  const auto completed = parser.feed(0xA9);
  ASSERT_EQ(completed.size(), 1u);
  EXPECT_EQ(completed[0].text, "é");
  EXPECT_TRUE(parser.feed(0xC3).empty());
  const auto end = parser.feed(small_marks().end);
  ASSERT_EQ(end.size(), 2u);
  EXPECT_EQ(end[0].text, "\xEF\xBF\xBD");
  EXPECT_EQ(end[1].kind, ParseEvent::Kind::end);
}

// The parser takes over wherever a prompt ends, also within the marks of a header.
TEST(Parser, APromptMayEndAnywhere) {
  const std::string whole =
      "«start»assistant to=functions.f«channel»commentary «constrain»json«message»{}«call»";
  const Ids ids = ids_of(whole);
  const auto after_role = ids_of("«start»assistant").size();
  for (size_t cut = 1; cut <= ids.size(); ++cut) {
    if (cut > 1 && cut < after_role) continue;  // within the role's own word
    const auto messages = parse(std::span(ids).subspan(cut), std::span(ids).first(cut));
    // Whole words and marks were cut between: what the prompt has of a message is not said again.
    if (cut == ids.size()) {
      EXPECT_TRUE(messages.empty());
      continue;
    }
    ASSERT_EQ(messages.size(), 1u) << cut;
    EXPECT_EQ(messages[0].header.role, Role::assistant);
  }
  Parser parser(small_tokenizer(), small_marks());
  EXPECT_FALSE(parser.resume(ids_of("Once upon a time")));
  EXPECT_FALSE(parser.resume(ids_of("a«message»b«end»")));
  EXPECT_EQ(parse(ids_of("«message»{}«call»"), ids_of(whole.substr(0, whole.find("«message»")))),
            std::vector<Found>{called("functions.f", "{}")});
  EXPECT_EQ(parse(ids_of("final«message»x«end»"), ids_of("«start»assistant«channel»")),
            std::vector<Found>{said("final", "x")});
  EXPECT_EQ(parse(ids_of("json«message»{}«end»"),
                  ids_of("«start»assistant to=functions.f«channel»commentary «constrain»")),
            std::vector<Found>{called("functions.f", "{}")});
}

// A model that does not write Harmony is heard before its answer is over, and held back no longer.
TEST(Parser, ALongHeaderIsNone) {
  Parser parser(small_tokenizer(), small_marks());
  ASSERT_TRUE(parser.resume(ids_of("«start»assistant")));
  std::vector<Found> messages;
  const std::string text(Parser::kMostHeaderBytes + 100, 'x');
  size_t silent = 0;
  for (const int32_t id : ids_of(text)) {
    const auto events = parser.feed(id);
    silent += events.empty() ? 1 : 0;
    collect(events, messages);
  }
  EXPECT_EQ(silent, Parser::kMostHeaderBytes);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].content, text);
  EXPECT_TRUE(is_answer(messages[0].header));
}

}  // namespace
}  // namespace dunlin::harmony

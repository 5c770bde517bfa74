// What the KV cache keeps between requests: sessions continue, equal prefixes are found again, and
// neither changes an id.
#include <gtest/gtest.h>

#include "engine_driver.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

constexpr const char* kSessionModel = "llama_tied_bias";

// `exact`: generated rows have the bits of prompt rows, so a continued sequence equals a cold one.
ModelOptions exact(int64_t sequences = 4) {
  return {.precision = Precision::exact, .threads = 1, .context = 256, .sequences = sequences};
}

Ids joined(Ids tokens, const Ids& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

Request in_session(Request request, SessionId session) {
  request.session = session;
  return request;
}

Ids cold_ids(const Request& request) {
  Request cold = request;
  cold.session = 0;
  return EngineDriver(kSessionModel, exact()).answer(cold).ids;
}

class Session : public testing::Test {
 protected:
  Answer first_turn(SessionId session, size_t prompt = 21) {
    return driver_.answer(in_session(sampled(random_prompt(prompt, 9), 10, 1), session));
  }

  EngineDriver driver_{kSessionModel, exact()};
};

TEST_F(Session, ContinuingComputesNothingBeforeTheFirstNewToken) {
  Ids tokens = random_prompt(21, 9);
  tokens = joined(tokens, first_turn(1).ids);
  for (uint32_t turn = 0; turn < 4; ++turn) {
    // The last token of an answer was drawn but never computed.
    const auto held = static_cast<int64_t>(tokens.size()) - 1;
    tokens = joined(tokens, random_prompt(3 + 7 * turn, turn));
    const Request request = in_session(sampled(tokens, 9, turn), 1);
    const Answer answer = driver_.answer(request);
    EXPECT_EQ(answer.stats.cached_tokens, held);
    EXPECT_EQ(answer.ids, cold_ids(request)) << turn;
    tokens = joined(tokens, answer.ids);
  }
}

TEST_F(Session, ADifferentTokenIsComputedFromThereOn) {
  for (const size_t at : {0, 1, 7, 15, 16, 17, 25, 29}) {
    const SessionId session = 10 + at;
    Ids tokens = joined(random_prompt(21, 9), first_turn(session).ids);
    tokens[at] = (tokens[at] + 1) % 128;
    const Request request = in_session(sampled(tokens, 12, at), session);
    const Answer answer = driver_.answer(request);
    EXPECT_EQ(answer.stats.cached_tokens, static_cast<int64_t>(at));
    EXPECT_EQ(answer.ids, cold_ids(request)) << at;
    driver_.engine().end_session(session);
  }
}

TEST_F(Session, TheSamePromptAgainComputesItsLastToken) {
  const Answer first = first_turn(1);
  const Answer again = first_turn(1);
  EXPECT_EQ(again.stats.cached_tokens, 20);
  EXPECT_EQ(again.ids, first.ids);
  const Request shorter = in_session(greedy(random_prompt(5, 9), 8), 1);
  const Answer short_answer = driver_.answer(shorter);
  EXPECT_EQ(short_answer.stats.cached_tokens, 4);
  EXPECT_EQ(short_answer.ids, cold_ids(shorter));
}

TEST_F(Session, SessionsDoNotMix) {
  const Ids one = joined(random_prompt(21, 9), first_turn(1).ids);
  const Ids other_prompt = random_prompt(30, 4);
  const Ids two = joined(other_prompt, driver_.answer(in_session(greedy(other_prompt, 10), 2)).ids);
  const Request continued_one = in_session(greedy(joined(one, {7, 8}), 6), 1);
  const Request continued_two = in_session(greedy(joined(two, {9}), 6), 2);
  const auto answer_one = driver_.submit(continued_one);
  const auto answer_two = driver_.submit(continued_two);
  driver_.engine().run_until_idle();
  EXPECT_EQ(answer_one->stats.cached_tokens, 30);
  EXPECT_EQ(answer_two->stats.cached_tokens, 39);
  EXPECT_EQ(answer_one->ids, cold_ids(continued_one));
  EXPECT_EQ(answer_two->ids, cold_ids(continued_two));
}

TEST_F(Session, TwoRequestsOfOneSessionAtATimeAreBothAnswered) {
  const Ids tokens = joined(random_prompt(21, 9), first_turn(1).ids);
  const Request a = in_session(greedy(joined(tokens, {5}), 6), 1);
  const Request b = in_session(sampled(joined(tokens, {6}), 6, 3), 1);
  const auto answer_a = driver_.submit(a);
  const auto answer_b = driver_.submit(b);
  driver_.engine().run_until_idle();
  EXPECT_EQ(answer_a->ids, cold_ids(a));
  EXPECT_EQ(answer_b->ids, cold_ids(b));
}

TEST_F(Session, AnEndedSessionIsForgotten) {
  const Ids tokens = joined(random_prompt(12, 9), first_turn(1, 12).ids);
  driver_.engine().end_session(1);
  const Answer answer = driver_.answer(in_session(greedy(joined(tokens, {5}), 4), 1));
  EXPECT_EQ(answer.stats.cached_tokens, 16);  // whole pages, from the prefix index
}

// Ended while its request runs or waits: nothing may be left behind.
TEST_F(Session, EndingASessionReachesItsRequests) {
  for (const bool running : {false, true}) {
    const auto first = driver_.submit(in_session(greedy(random_prompt(12, 9), 10), 1));
    if (running) driver_.engine().step();
    driver_.engine().end_session(1);
    driver_.engine().run_until_idle();
    EXPECT_EQ(first->ids.size(), 10u);
    const Ids next = joined(joined(random_prompt(12, 9), first->ids), {5});
    const Answer answer = driver_.answer(in_session(greedy(next, 4), 1));
    EXPECT_EQ(answer.stats.cached_tokens, 16);  // the session held 21
    driver_.engine().end_session(1);
  }
}

TEST_F(Session, IdleSessionsMakeRoom) {
  EngineDriver driver(kSessionModel, exact(/*sequences=*/2));
  const auto turn = [&driver](SessionId session, size_t more) {
    const Ids prompt = joined(random_prompt(10, static_cast<uint32_t>(session)), Ids(more, 1));
    return driver.answer(in_session(greedy(prompt, 3), session)).stats.cached_tokens;
  };
  EXPECT_EQ(turn(1, 0), 0);
  EXPECT_EQ(turn(2, 0), 0);
  EXPECT_EQ(turn(1, 1), 10);  // 1 is now the last used
  EXPECT_EQ(turn(3, 0), 0);   // 2 makes room
  EXPECT_EQ(turn(1, 2), 11);
  EXPECT_EQ(turn(2, 1), 0);
}

TEST(PrefixCache, EqualBeginningsAreFoundAgain) {
  EngineDriver driver(kSessionModel, exact());
  const Ids prompt = random_prompt(75, 3);
  driver.answer(greedy(prompt, 4));
  for (const size_t common : {15, 16, 17, 47, 48, 63, 64, 70}) {
    Ids tokens(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(common));
    tokens = joined(tokens, {127, 1, 2});
    const Request request = sampled(tokens, 10, common);
    const Answer answer = driver.answer(request);
    EXPECT_EQ(answer.stats.cached_tokens, static_cast<int64_t>(common / 16 * 16)) << common;
    EXPECT_EQ(answer.ids, cold_ids(request)) << common;
  }
  // At least one token is computed, for its logits.
  const Request whole = greedy(Ids(prompt.begin(), prompt.begin() + 64), 4);
  const Answer answer = driver.answer(whole);
  EXPECT_EQ(answer.stats.cached_tokens, 48);
  EXPECT_EQ(answer.ids, cold_ids(whole));
}

// Under `auto` generated rows may have other bits than prompt rows: only prompts are shared.
TEST(PrefixCache, AutoSharesNoGeneratedRows) {
  ModelOptions options = exact();
  options.precision = Precision::automatic;
  EngineDriver driver(kSessionModel, options);
  const Ids prompt = random_prompt(20, 3);
  const Ids answer = driver.answer(greedy(prompt, 40)).ids;
  const Request next = greedy(joined(joined(prompt, answer), {1}), 10);
  const Answer continued = driver.answer(next);
  EXPECT_EQ(continued.stats.cached_tokens, 16);
  EXPECT_EQ(continued.ids, EngineDriver(kSessionModel, options).answer(next).ids);
}

// More sequences come and go than there are pages: reuse of a page must not show.
TEST(PrefixCache, PagesAreReusedWithoutATrace) {
  EngineDriver driver(kSessionModel, exact(/*sequences=*/2));
  for (uint32_t i = 0; i < 30; ++i) {
    const Request request = sampled(random_prompt(40 + i % 5 * 40, i % 7), 12, i % 7);
    EXPECT_EQ(driver.answer(request).ids, cold_ids(request)) << i;
  }
}

}  // namespace
}  // namespace dunlin

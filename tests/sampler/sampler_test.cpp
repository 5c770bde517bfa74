// Sampler: each filter by its definition on small rows, the order they come in, and the
// distribution of the draw.
#include "sampler/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sampler/philox.h"

namespace dunlin {
namespace {

// A row and its view with the best k candidates, as a back end computes them.
struct Row {
  std::vector<float> logits;
  std::vector<int32_t> ids;
  std::vector<float> best;

  explicit Row(std::vector<float> values, size_t k = 4)
      : logits(std::move(values)), ids(logits.size()) {
    std::iota(ids.begin(), ids.end(), 0);
    const auto better = [this](int32_t a, int32_t b) {
      const float left = logits[static_cast<size_t>(a)];
      const float right = logits[static_cast<size_t>(b)];
      return left > right || (left == right && a < b);
    };
    std::ranges::sort(ids, better);
    ids.resize(std::min(k, ids.size()));
    for (const int32_t id : ids) best.push_back(logits[static_cast<size_t>(id)]);
  }
  LogitsView view() const { return {.ids = ids, .logits = best, .row = logits}; }
};

SamplingParams plain(float temperature = 1.0f) {
  return {.temperature = temperature, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};
}

std::vector<int32_t> kept_ids(const Sampler& sampler) {
  std::vector<int32_t> ids;
  for (const Candidate& candidate : sampler.kept()) ids.push_back(candidate.id);
  return ids;
}

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  const Row row({1.0f, 3.0f, 3.0f, 2.0f});
  Sampler sampler;
  EXPECT_EQ(*sampler.sample(row.view(), plain(0.0f), {}, 0, 0.9f), 1);
}

TEST(Sampler, GreedyWithBiasReadsTheWholeRow) {
  const Row row({5.0f, 4.0f, 3.0f, 2.0f, 1.0f, 0.0f}, /*k=*/2);
  SamplingParams params = plain(0.0f);
  params.logit_bias = {{5, 10.0f}};
  Sampler sampler;
  EXPECT_EQ(*sampler.sample(row.view(), params, {}, 0, 0.0f), 5);
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegativeOnce) {
  const Row row({2.0f, 1.5f, -1.0f, -1.5f});
  SamplingParams params = plain(0.0f);
  params.repeat_penalty = 2.0f;
  Sampler sampler;
  const std::vector<int32_t> history = {0, 0, 0};
  EXPECT_EQ(*sampler.sample(row.view(), params, history, 0, 0.0f),
            1);  // 2 / 2 = 1 < 1.5; 2 / 8 would be the same
  params.repeat_penalty = 1.25f;
  EXPECT_EQ(*sampler.sample(row.view(), params, history, 0, 0.0f),
            0);  // 1.6 > 1.5: applied once, not per count
  params.repeat_last_n = 1;
  params.repeat_penalty = 2.0f;
  const std::vector<int32_t> moved_on = {0, 3};
  EXPECT_EQ(*sampler.sample(row.view(), params, moved_on, 0, 0.0f), 0);
}

TEST(Sampler, CountPenaltiesSeeOnlyTheAnswer) {
  const Row row({2.0f, 1.9f, 0.0f});
  SamplingParams params = plain(0.0f);
  params.presence_penalty = 0.2f;
  Sampler sampler;
  const std::vector<int32_t> history = {0, 2};
  EXPECT_EQ(*sampler.sample(row.view(), params, history, 1, 0.0f), 0);
  EXPECT_EQ(*sampler.sample(row.view(), params, history, 2, 0.0f), 1);
  params.presence_penalty = 0.0f;
  params.frequency_penalty = 0.06f;
  const std::vector<int32_t> twice = {0, 0};
  EXPECT_EQ(*sampler.sample(row.view(), params, twice, 1, 0.0f), 0);
  EXPECT_EQ(*sampler.sample(row.view(), params, twice, 2, 0.0f), 1);
}

TEST(Sampler, TopKKeepsTheBestFromTheViewOrTheRow) {
  const std::vector<float> logits = {0.0f, 4.0f, 2.0f, 3.0f, 1.0f};
  SamplingParams params = plain();
  params.top_k = 3;
  for (const size_t view_size : {size_t{1}, size_t{3}, size_t{5}}) {
    const Row row(logits, view_size);
    Sampler sampler;
    ASSERT_TRUE(sampler.sample(row.view(), params, {}, 0, 0.5f).ok());
    EXPECT_EQ(kept_ids(sampler), (std::vector<int32_t>{1, 3, 2}));
  }
}

TEST(Sampler, TopPKeepsTheShortestPrefixThatReachesP) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const Row row({std::log(0.5f), std::log(0.25f), std::log(0.125f), std::log(0.125f)});
  Sampler sampler;
  SamplingParams params = plain();
  for (const auto& [p, count] : std::vector<std::pair<float, size_t>>{
           {0.0f, 1}, {0.4f, 1}, {0.6f, 2}, {0.8f, 3}, {1.0f, 4}}) {
    params.top_p = p;
    ASSERT_TRUE(sampler.sample(row.view(), params, {}, 0, 0.0f).ok());
    EXPECT_EQ(sampler.kept().size(), count) << p;
  }
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  const Row row({0.0f, std::log(0.5f), std::log(0.09f), std::log(0.01f)});
  SamplingParams params = plain();
  params.min_p = 0.1f;
  Sampler sampler;
  ASSERT_TRUE(sampler.sample(row.view(), params, {}, 0, 0.0f).ok());
  EXPECT_EQ(kept_ids(sampler), (std::vector<int32_t>{0, 1}));
}

TEST(Sampler, TemperatureComesBeforeTheFilters) {
  // At temperature 1 top_p 0.6 keeps one candidate (0.73); at temperature 4 it needs two (0.56 +
  // 0.44).
  const Row row({1.0f, 0.0f});
  SamplingParams params = plain(4.0f);
  params.top_p = 0.6f;
  Sampler sampler;
  ASSERT_TRUE(sampler.sample(row.view(), params, {}, 0, 0.0f).ok());
  EXPECT_EQ(sampler.kept().size(), 2u);
}

TEST(Sampler, DrawFollowsTheDistribution) {
  const std::vector<double> probabilities = {0.4, 0.3, 0.2, 0.1};
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  const Row row(logits);
  Sampler sampler;
  constexpr int kDraws = 20000;
  std::vector<int> counts(4);
  for (uint64_t position = 0; position < kDraws; ++position) {
    ++counts[static_cast<size_t>(*sampler.sample(row.view(), plain(), {}, 0,
                                                 uniform(42, 0, position, RandomPurpose::token)))];
  }
  double chi_squared = 0.0;
  for (size_t i = 0; i < 4; ++i) {
    const double expected = probabilities[i] * kDraws;
    chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_squared, 16.27);  // 3 degrees of freedom, 0.1 %
}

TEST(Sampler, TheBestIsTakenAsItIsWithoutTemperatureBiasAndPenalties) {
  const SamplingParams greedy{.temperature = 0};
  EXPECT_TRUE(takes_best(greedy));
  EXPECT_FALSE(takes_best({}));
  const auto with = [&greedy](const auto& change) {
    SamplingParams params = greedy;
    change(params);
    return takes_best(params);
  };
  EXPECT_FALSE(with([](SamplingParams& params) { params.repeat_penalty = 1.1f; }));
  EXPECT_FALSE(with([](SamplingParams& params) { params.frequency_penalty = 0.5f; }));
  EXPECT_FALSE(with([](SamplingParams& params) { params.presence_penalty = 0.5f; }));
  EXPECT_FALSE(with([](SamplingParams& params) { params.logit_bias = {{1, 2.0f}}; }));
  EXPECT_TRUE(with([](SamplingParams& params) { params.top_k = 1; }));
}

TEST(Sampler, SaysWhatNeedsTheWholeRow) {
  const auto needs = [](int64_t candidates, const auto& change) {
    SamplingParams params;  // the best 40
    change(params);
    return needs_whole_row(params, candidates);
  };
  EXPECT_FALSE(needs(64, [](SamplingParams&) {}));
  EXPECT_FALSE(needs(40, [](SamplingParams&) {}));
  EXPECT_TRUE(needs(39, [](SamplingParams&) {}));
  EXPECT_TRUE(needs(64, [](SamplingParams& params) { params.top_k = 0; }));
  EXPECT_TRUE(needs(64, [](SamplingParams& params) { params.repeat_penalty = 1.1f; }));
  EXPECT_FALSE(needs(1, [](SamplingParams& params) { params.temperature = 0.0f; }));
  EXPECT_TRUE(needs(0, [](SamplingParams& params) { params.temperature = 0.0f; }));
  EXPECT_TRUE(needs(64, [](SamplingParams& params) {
    params.temperature = 0.0f;
    params.logit_bias = {{1, 2.0f}};
  }));
}

// The candidates alone give the same token, where nothing looks beyond them.
TEST(Sampler, ARowMayBeMissingWhereCandidatesAreEnough) {
  const Row row({0.0f, 4.0f, 2.0f, 3.0f, 1.0f}, 3);
  LogitsView candidates = row.view();
  candidates.row = {};
  for (const int32_t top_k : {1, 2, 3}) {
    for (const float temperature : {0.0f, 2.0f}) {
      SamplingParams params = plain(temperature);
      params.top_k = top_k;
      ASSERT_FALSE(needs_whole_row(params, 3));
      for (const float u : {0.0f, 0.3f, 0.6f, 0.99f}) {
        Sampler whole;
        Sampler part;
        const auto expected = whole.sample(row.view(), params, {}, 0, u);
        EXPECT_EQ(*part.sample(candidates, params, {}, 0, u), *expected);
        EXPECT_EQ(kept_ids(part), kept_ids(whole));
      }
    }
  }
}

TEST(Sampler, NonFiniteRowsAreRefused) {
  Row row({0.0f, 1.0f});
  LogitsView view = row.view();
  view.finite = false;
  Sampler sampler;
  EXPECT_FALSE(sampler.sample(view, plain(), {}, 0, 0.5f).ok());
}

TEST(SamplingParams, EveryFieldHasARange) {
  const auto refused = [](auto change) {
    SamplingParams params;
    change(params);
    const auto status = validate(params, 100);
    return !status.ok() && status.error().kind == ErrorKind::usage;
  };
  EXPECT_TRUE(validate(SamplingParams{}, 100).ok());
  EXPECT_TRUE(refused([](auto& p) { p.temperature = -0.1f; }));
  EXPECT_TRUE(refused([](auto& p) { p.temperature = NAN; }));
  EXPECT_TRUE(refused([](auto& p) { p.top_k = -1; }));
  EXPECT_TRUE(refused([](auto& p) { p.top_p = 1.1f; }));
  EXPECT_TRUE(refused([](auto& p) { p.min_p = -1.0f; }));
  EXPECT_TRUE(refused([](auto& p) { p.repeat_penalty = 0.0f; }));
  EXPECT_TRUE(refused([](auto& p) { p.frequency_penalty = INFINITY; }));
  EXPECT_TRUE(refused([](auto& p) { p.repeat_last_n = -2; }));
  EXPECT_TRUE(refused([](auto& p) { p.logit_bias = {{100, 1.0f}}; }));
  EXPECT_TRUE(refused([](auto& p) { p.logit_bias = {{-1, 1.0f}}; }));
}

}  // namespace
}  // namespace dunlin

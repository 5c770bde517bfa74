// MaskedSampler: filters in the published order, confidences by their formulas, and draws that have
// the distribution of the closed form.
#include "decode/masked_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "chi_squared.h"
#include "logit_rows.h"
#include "sampler/philox.h"

namespace dunlin {
namespace {

// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625 of ids 2, 0, 4, 1, 3.
const LogitRow kHalves({std::log(4.0f), 0.0f, std::log(8.0f), 0.0f, std::log(2.0f)}, 3);

MaskedToken sample(const LogitRow& row, const MaskedSamplerParams& params, float u = 0.0f) {
  MaskedSampler sampler;
  const auto drawn = sampler.sample(row.view(), params, u);
  EXPECT_TRUE(drawn.ok()) << drawn.error().message;
  return drawn.ok() ? *drawn : MaskedToken();
}

TEST(MaskedSampler, TakesTheBestTokenAtTemperatureZero) {
  const MaskedToken token = sample(kHalves, {});
  EXPECT_EQ(token.token, 2);
  EXPECT_NEAR(token.confidence, 0.5, 1e-6);
  EXPECT_EQ(sample(LogitRow({1.0f, 3.0f, 3.0f}), {}).token, 1);  // the lowest of equals
}

TEST(MaskedSampler, ConfidencesFollowTheirFormulas) {
  EXPECT_NEAR(sample(kHalves, {.confidence = Confidence::margin}).confidence, 0.25, 1e-6);
  const double entropy = 0.5 * std::log(0.5) + 0.25 * std::log(0.25) + 0.125 * std::log(0.125) +
                         2 * 0.0625 * std::log(0.0625);
  EXPECT_NEAR(sample(kHalves, {.confidence = Confidence::negative_entropy}).confidence, entropy,
              1e-6);
}

// Mass before each: 0, 0.5, 0.75, 0.875, 0.9375. Dropped is what has more than top_p before it.
TEST(MaskedSampler, TopPKeepsWhatHasNoMoreMassBeforeIt) {
  const auto confidence = [](float top_p) {
    return static_cast<double>(sample(kHalves, {.top_p = top_p}).confidence);
  };
  EXPECT_NEAR(confidence(0.0f), 1.0, 1e-6);  // the first is always kept
  EXPECT_NEAR(confidence(0.45f), 1.0, 1e-6);
  EXPECT_NEAR(confidence(0.6f), 0.5 / 0.75, 1e-6);
  EXPECT_NEAR(confidence(0.8f), 0.5 / 0.875, 1e-6);
  EXPECT_NEAR(confidence(0.9f), 0.5 / 0.9375, 1e-6);
  EXPECT_NEAR(confidence(1.0f), 0.5, 1e-6);
}

TEST(MaskedSampler, TopKComesAfterTopPAndKeepsTies) {
  const auto confidence = [](float top_p, int32_t top_k) {
    return static_cast<double>(sample(kHalves, {.top_p = top_p, .top_k = top_k}).confidence);
  };
  EXPECT_NEAR(confidence(1.0f, 1), 1.0, 1e-6);
  EXPECT_NEAR(confidence(1.0f, 2), 0.5 / 0.75, 1e-6);
  EXPECT_NEAR(confidence(1.0f, 4), 0.5, 1e-6);  // the fourth ties with the fifth
  EXPECT_NEAR(confidence(1.0f, 100), 0.5, 1e-6);
  EXPECT_NEAR(confidence(0.8f, 2), 0.5 / 0.75, 1e-6);
  // top_p keeps two of the whole distribution. After top_k it would keep one.
  EXPECT_NEAR(confidence(0.6f, 2), 0.5 / 0.75, 1e-6);
}

TEST(MaskedSampler, DrawsByInverseCdfInDescendingProbability) {
  const MaskedSamplerParams params{.temperature = 1.0f};
  const std::vector<std::pair<float, int32_t>> draws = {
      {0.0f, 2},  {0.49f, 2}, {0.51f, 0}, {0.74f, 0}, {0.76f, 4},
      {0.86f, 4}, {0.88f, 1}, {0.93f, 1}, {0.94f, 3}, {0.9999f, 3}};
  for (const auto& [u, id] : draws) EXPECT_EQ(sample(kHalves, params, u).token, id) << u;
  // The confidence is the drawn token's.
  EXPECT_NEAR(sample(kHalves, params, 0.8f).confidence, 0.125, 1e-6);
  // But the distance of the best two, whatever was drawn.
  EXPECT_NEAR(
      sample(kHalves, {.temperature = 1.0f, .confidence = Confidence::margin}, 0.8f).confidence,
      0.25, 1e-6);
}

TEST(MaskedSampler, ATinyTemperatureIsGreedy) {
  for (const float u : {0.0f, 0.5f, 0.999f}) {
    const MaskedToken token = sample(kHalves, {.temperature = 1e-38f}, u);
    EXPECT_EQ(token.token, 2);
    EXPECT_EQ(token.confidence, 1.0f);
  }
}

TEST(MaskedSampler, RanksBeyondTheCandidatesComeFromTheRow) {
  std::vector<float> logits(10000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = -1e-3f * static_cast<float>((i * 7919) % logits.size());
  const LogitRow row(logits, 4);
  const LogitRow all(logits, logits.size());
  for (const float u : {0.001f, 0.2f, 0.5f, 0.9f, 0.9999f, 0.99999994f}) {
    for (const float top_p : {0.3f, 1.0f}) {
      const MaskedSamplerParams params{.temperature = 2.0f, .top_p = top_p};
      EXPECT_EQ(sample(row, params, u).token, sample(all, params, u).token) << u;
    }
  }
}

// Leaving out what is beyond the candidates is seen in no draw.
TEST(MaskedSampler, ATailWithoutWeightIsLeftOut) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] =
        i < 8 ? 2.0f - 0.5f * static_cast<float>(i) : -10.0f - 1e-3f * static_cast<float>(i);
  const LogitRow few(logits, 16);
  const LogitRow all(logits, logits.size());
  for (const Confidence confidence :
       {Confidence::probability, Confidence::margin, Confidence::negative_entropy}) {
    for (const float u : {0.0f, 0.4f, 0.8f, 0.99f, 0.999999f}) {
      const MaskedSamplerParams params{.temperature = 0.3f, .confidence = confidence};
      const MaskedToken short_way = sample(few, params, u);
      const MaskedToken long_way = sample(all, params, u);
      EXPECT_EQ(short_way.token, long_way.token) << u;
      EXPECT_NEAR(short_way.confidence, long_way.confidence, 1e-7) << u;
    }
  }
}

TEST(MaskedSampler, RefusesWhatIsNoNumber) {
  LogitsView view = kHalves.view();
  view.finite = false;
  MaskedSampler sampler;
  const auto drawn = sampler.sample(view, {}, 0.0f);
  ASSERT_FALSE(drawn.ok());
  EXPECT_EQ(drawn.error().kind, ErrorKind::runtime);
}

TEST(MaskedSampler, LogitsOfMinusInfinityAreNeverDrawn) {
  const float infinity = std::numeric_limits<float>::infinity();
  const LogitRow row({-infinity, 1.0f, -infinity, 1.0f});
  for (const float u : {0.0f, 0.49f, 0.51f, 0.999f}) {
    const MaskedToken token = sample(row, {.temperature = 1.0f}, u);
    EXPECT_TRUE(token.token == 1 || token.token == 3);
    EXPECT_EQ(token.confidence, 0.5f);
  }
}

struct Filters {
  float temperature, top_p;
  int32_t top_k;
};

class Distribution : public testing::TestWithParam<Filters> {};

// The closed form, written anew in double: p^(1/T), then the filters, then normalised.
std::vector<double> closed_form(const std::vector<float>& logits, const Filters& filters) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  std::vector<double> p(logits.size());
  double sum = 0.0;
  for (size_t i = 0; i < p.size(); ++i) {
    p[i] = std::exp(static_cast<double>(logits[i]) / static_cast<double>(filters.temperature));
    sum += p[i];
  }
  double before = 0.0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    double& each = p[order[rank]];
    const double mass = each / sum;
    const bool dropped = (rank > 0 && before > static_cast<double>(filters.top_p)) ||
                         (filters.top_k > 0 && rank >= static_cast<size_t>(filters.top_k));
    before += mass;
    if (dropped) each = 0.0;
  }
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& each : p) each /= kept;
  return p;
}

TEST_P(Distribution, IsTheClosedForm) {
  constexpr int64_t kDraws = 40000;
  std::vector<float> logits;
  for (int i = 0; i < 24; ++i) logits.push_back(2.0f * std::sin(static_cast<float>(7 * i)));
  const LogitRow row(logits, 4);
  const Filters& filters = GetParam();
  const std::vector<double> expected = closed_form(logits, filters);
  std::vector<int64_t> counts(logits.size());
  MaskedSampler sampler;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    const float u = uniform(/*seed=*/11, 0, static_cast<uint64_t>(draw), RandomPurpose::token);
    const auto drawn = sampler.sample(
        row.view(),
        {.temperature = filters.temperature, .top_p = filters.top_p, .top_k = filters.top_k}, u);
    const auto id = static_cast<size_t>(drawn.value().token);
    ++counts[id];
    EXPECT_NEAR(drawn.value().confidence, expected[id], 1e-5);
  }
  const auto kept =
      static_cast<int>(std::ranges::count_if(expected, [](double p) { return p > 0; }));
  EXPECT_LT(chi_squared(counts, expected, kDraws), chi_squared_limit(kept - 1));
}

INSTANTIATE_TEST_SUITE_P(All, Distribution,
                         testing::Values(Filters{1.0f, 1.0f, 0}, Filters{0.3f, 1.0f, 0},
                                         Filters{0.7f, 0.9f, 0}, Filters{1.5f, 1.0f, 6},
                                         Filters{1.2f, 0.8f, 5}));

}  // namespace
}  // namespace dunlin

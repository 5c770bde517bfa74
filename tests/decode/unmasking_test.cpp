// Which positions a step decides.
#include "decode/unmasking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "chi_squared.h"
#include "sampler/philox.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<float> kConfidence = {0.3f, 0.9f, 0.5f, 0.9f, 0.1f};

TEST(Surest, OrdersByConfidenceAndTiesByPosition) {
  EXPECT_THAT(surest(kConfidence, 3), ElementsAre(1, 3, 2));
  EXPECT_THAT(surest(kConfidence, 9), ElementsAre(1, 3, 2, 0, 4));
  EXPECT_THAT(surest(kConfidence, 0), IsEmpty());
  EXPECT_THAT(surest({}, 3), IsEmpty());
}

TEST(AboveThreshold, AlwaysTakesTheSurestAndThenWhatReachesIt) {
  EXPECT_THAT(above_threshold(kConfidence, 5, 0.5f), ElementsAre(1, 3, 2));
  EXPECT_THAT(above_threshold(kConfidence, 2, 0.1f), ElementsAre(1, 3));
  EXPECT_THAT(above_threshold(kConfidence, 5, 0.95f), ElementsAre(1));
  EXPECT_THAT(above_threshold(kConfidence, 5, 0.0f), ElementsAre(1, 3, 2, 0, 4));
  EXPECT_THAT(above_threshold({}, 5, 0.5f), IsEmpty());
}

// Entropies of 0.02, 0.05, 0.3, 0.5 and 0.9: the sum is that of all but the largest.
TEST(WithinEntropy, TakesTheLowestAsFarAsTheirSumAllows) {
  const std::vector<float> confidence = {-0.05f, -0.5f, -0.02f, -0.3f, -0.9f};
  EXPECT_THAT(within_entropy(confidence, 0.0), ElementsAre(2));
  EXPECT_THAT(within_entropy(confidence, 0.03), ElementsAre(2, 0));
  EXPECT_THAT(within_entropy(confidence, 0.08), ElementsAre(2, 0, 3));
  EXPECT_THAT(within_entropy(confidence, 0.4), ElementsAre(2, 0, 3, 1));
  EXPECT_THAT(within_entropy(confidence, 0.8), ElementsAre(2, 0, 3, 1));
  EXPECT_THAT(within_entropy(confidence, 0.9), ElementsAre(2, 0, 3, 1, 4));
  EXPECT_THAT(within_entropy({}, 1.0), IsEmpty());
}

// What p ln(p + 1e-10) makes of a sure token is a little above 0.
TEST(WithinEntropy, SureTokensCostNothing) {
  const std::vector<float> confidence = {1e-10f, -1.0f, 1e-10f, 1e-10f};
  EXPECT_THAT(within_entropy(confidence, 0.0), ElementsAre(0, 2, 3, 1));
  EXPECT_THAT(within_entropy(std::vector<float>{-1.0f, -1.0f}, 0.5), ElementsAre(0));
}

TEST(DrawPositions, GivesEachPositionOnce) {
  const auto drawn = draw_positions(kConfidence, 5, 1.0, [](size_t) { return 0.7f; });
  EXPECT_THAT(drawn, testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(draw_positions(kConfidence, 9, 1.0, [](size_t) { return 0.0f; }),
              ElementsAre(1, 3, 2, 0, 4));
}

TEST(DrawPositions, ATinyTemperatureTakesTheSurest) {
  for (const float u : {0.0f, 0.4f, 0.999f}) {
    const auto drawn =
        draw_positions(std::vector<float>{0.2f, 0.8f, 0.5f}, 3, 1e-300, [u](size_t) { return u; });
    EXPECT_THAT(drawn, ElementsAre(1, 2, 0));
  }
}

// Two draws: the pair (a, b) has probability p_a p_b / (1 - p_a).
TEST(DrawPositions, HasTheDistributionOfDrawsWithoutReplacement) {
  constexpr int64_t kDraws = 40000;
  constexpr double kTemperature = 0.4;
  const std::vector<float> confidence = {0.1f, 0.9f, 0.4f, 0.6f};
  std::vector<double> p;
  double sum = 0.0;
  for (const float each : confidence) {
    p.push_back(std::exp(static_cast<double>(each) / kTemperature));
    sum += p.back();
  }
  for (double& each : p) each /= sum;
  std::vector<double> expected;
  std::map<std::pair<size_t, size_t>, size_t> cell;
  for (size_t a = 0; a < p.size(); ++a) {
    for (size_t b = 0; b < p.size(); ++b) {
      if (a == b) continue;
      cell[{a, b}] = expected.size();
      expected.push_back(p[a] * p[b] / (1.0 - p[a]));
    }
  }
  std::vector<int64_t> counts(expected.size());
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    const auto drawn = draw_positions(confidence, 2, kTemperature, [draw](size_t which) {
      return uniform(/*seed=*/5, 0, static_cast<uint64_t>(2 * draw) + which,
                     RandomPurpose::choose_position);
    });
    ++counts[cell.at({drawn[0], drawn[1]})];
  }
  EXPECT_LT(chi_squared(counts, expected, kDraws),
            chi_squared_limit(static_cast<int>(counts.size()) - 1));
}

}  // namespace
}  // namespace dunlin

// Scores against numpy's (tools/make_eval_goldens.py), and the values where formulas end.
#include "eval/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/byte_source.h"

namespace dunlin {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<float>>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Rows rows_of(const Json& json) {
  Rows rows;
  for (const auto& row : json) {
    auto& into = rows.emplace_back();
    for (const auto& value : row) into.push_back(value.is_null() ? -kInfinity : value.get<float>());
  }
  return rows;
}

class Scores : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = std::string(DUNLIN_SOURCE_DIR) + "/tests/eval/data/scores.json";
    golden_ = Json::parse(read_text_file(path, 1 << 24).value());
    model_ = rows_of(golden_["model"]);
    reference_ = rows_of(golden_["reference"]);
    ASSERT_GE(model_.size(), 30u);
  }

  LogitsView view(const Rows& rows, const char* lse, size_t i) const {
    return {.lse = golden_[lse][i].get<float>(), .row = rows[i]};
  }

  Json golden_;
  Rows model_, reference_;
};

TEST_F(Scores, LikelihoodsAreNumpys) {
  for (size_t i = 0; i < model_.size(); ++i) {
    const int32_t token = golden_["tokens"][i];
    // A log-sum-exp is a float: at 250 its last place is 1.5e-5.
    EXPECT_NEAR(negative_log_likelihood(view(model_, "model_lse", i), token),
                golden_["nll"][i].get<double>(), 2e-5)
        << i;
    EXPECT_NEAR(negative_log_likelihood(view(reference_, "reference_lse", i), token),
                golden_["reference_nll"][i].get<double>(), 2e-5)
        << i;
  }
}

TEST_F(Scores, DivergencesAreNumpys) {
  for (size_t i = 0; i < model_.size(); ++i) {
    const double wanted = golden_["kl"][i];
    EXPECT_NEAR(kl_divergence(reference_[i], model_[i]), wanted, 1e-7 + 1e-6 * wanted) << i;
  }
  EXPECT_EQ(kl_divergence(reference_[0], model_[0] /* shifted by 50 */) < 1e-7, true);
  EXPECT_EQ(kl_divergence(model_[7], model_[7]), 0.0);
}

TEST_F(Scores, SummariesAreNumpys) {
  RunningMean likelihoods;
  RunningMean divergences;
  std::vector<float> all;
  for (size_t i = 0; i < model_.size(); ++i) {
    likelihoods.add(golden_["nll"][i]);
    divergences.add(golden_["kl"][i]);
    all.push_back(golden_["kl"][i].get<float>());
  }
  const Perplexity perplexity = perplexity_of(likelihoods);
  EXPECT_NEAR(perplexity.value / golden_["perplexity"]["value"].get<double>(), 1.0, 1e-12);
  EXPECT_NEAR(perplexity.error / golden_["perplexity"]["error"].get<double>(), 1.0, 1e-9);
  EXPECT_NEAR(divergences.mean(), golden_["kl_mean"].get<double>(), 1e-12);
  EXPECT_NEAR(quantile(all, 0.99), golden_["kl_p99"].get<double>(), 1e-5);
}

TEST_F(Scores, TheBestTokensAreCompared) {
  const auto best = [](const std::vector<float>& row) {
    return static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
  };
  int same = 0;
  for (size_t i = 0; i < model_.size(); ++i) {
    const int32_t ours = best(model_[i]);
    const int32_t theirs = best(reference_[i]);
    const bool agree = same_best({.ids = std::span(&ours, 1)}, {.ids = std::span(&theirs, 1)});
    EXPECT_EQ(agree, golden_["same_best"][i].get<bool>()) << i;
    same += agree;
  }
  EXPECT_GT(same, 5);
  EXPECT_LT(same, std::ssize(model_));
}

TEST(Divergence, IsInfiniteWhereTheModelExcludesWhatTheReferenceAllows) {
  const std::vector<float> reference = {0, 0, 1};
  const std::vector<float> excludes = {0, -kInfinity, 1};
  EXPECT_EQ(kl_divergence(reference, excludes), static_cast<double>(kInfinity));
  // The other way round the term is 0 ln 0: p = (1, 0, e) / (1 + e) against (1, 1, e) / (2 + e).
  const double e = std::exp(1.0);
  EXPECT_NEAR(kl_divergence(excludes, reference), std::log((2 + e) / (1 + e)), 1e-7);
}

TEST(Divergence, DoesNotDrownInLargeLogits) {
  std::vector<float> a(1000);
  for (size_t i = 0; i < a.size(); ++i) a[i] = 1000.0f + 0.01f * static_cast<float>(i % 37);
  std::vector<float> b = a;
  b[5] += 0.0625f;
  // About p (1 - p) d^2 / 2 with p = 1 / 1000: 1.9e-6.
  EXPECT_NEAR(kl_divergence(a, b), 1.9e-6, 3e-7);
}

TEST(RunningMean, OfFewValues) {
  RunningMean mean;
  EXPECT_EQ(mean.mean(), 0.0);
  EXPECT_EQ(mean.error(), 0.0);
  mean.add(3);
  EXPECT_EQ(mean.mean(), 3.0);
  EXPECT_EQ(mean.error(), 0.0);
  mean.add(5);
  EXPECT_EQ(mean.mean(), 4.0);
  EXPECT_DOUBLE_EQ(mean.error(), 1.0);  // sqrt((17 - 16) / 1)
}

TEST(Quantile, IsLinearBetweenNeighbours) {
  EXPECT_EQ(quantile({4}, 0.99), 4.0);
  EXPECT_EQ(quantile({3, 1, 2}, 0.5), 2.0);
  EXPECT_EQ(quantile({3, 1, 2}, 1.0), 3.0);
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2, 4}, 0.5), 2.5);
  EXPECT_NEAR(quantile({0, 10}, 0.99), 9.9, 1e-12);
}

}  // namespace
}  // namespace dunlin

// evaluate(): against one sequence at a time in plain arithmetic, and the same bits however the
// windows are put into steps.
#include "eval/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/sequence_runner.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

const std::string kModel = test_data("data/llama_plain/model");
const std::string kReference = test_data("data/qwen2_untied/model");

Corpus random_corpus(size_t size) {
  Corpus corpus{.vocabulary = 160};
  uint32_t state = 7;
  for (size_t i = 0; i < size; ++i) {
    state = state * 1664525u + 1013904223u;
    corpus.ids.push_back(static_cast<int32_t>((state >> 16) % 160));
  }
  return corpus;
}

Result<void> go_on(const EvalProgress&) {
  return {};
}

std::unique_ptr<Model> load(const std::string& path, const WindowPlan& plan,
                            const ModelOptions& base = {}) {
  return load_model(path, eval_model_options(base, plan, 160)).value();
}

EvalResult evaluated(const Corpus& corpus, const WindowPlan& plan, const std::string& reference,
                     const ModelOptions& base = {}) {
  const auto model = load(kModel, plan, base);
  const auto other = reference.empty() ? nullptr : load(reference, plan, base);
  return evaluate(*model, other.get(), corpus, plan, go_on).value();
}

// Rows of logits [window - 1][V] of one window, computed alone.
std::vector<std::vector<float>> logits_of(Model& model, const Corpus& corpus,
                                          const WindowPlan& plan, int64_t window) {
  SequenceRunner runner = SequenceRunner::create(model).value();
  std::vector<int32_t> tokens(corpus.ids.begin() + plan.begin(window),
                              corpus.ids.begin() + plan.begin(window) + plan.rows());
  if (corpus.bos) tokens[0] = *corpus.bos;
  const StepOutput* output =
      runner.run(tokens, RowClass::prompt, SequenceRunner::LogitRows::all).value();
  std::vector<std::vector<float>> rows;
  for (const LogitsView& view : output->logits) rows.emplace_back(view.row.begin(), view.row.end());
  return rows;
}

double log_probability(const std::vector<float>& row, int32_t token) {
  double sum = 0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit));
  return static_cast<double>(row[static_cast<size_t>(token)]) - std::log(sum);
}

double expected_perplexity(const std::string& path, const Corpus& corpus, const WindowPlan& plan) {
  const auto model = load_model(path, {.precision = Precision::f32,
                                       .context = plan.window,
                                       .rows = plan.window,
                                       .logit_rows = plan.window})
                         .value();
  double sum = 0;
  for (int64_t window = 0; window < plan.count; ++window) {
    const auto rows = logits_of(*model, corpus, plan, window);
    for (int64_t t = plan.first_scored; t < plan.window; ++t) {
      sum -= log_probability(rows[static_cast<size_t>(t - 1)],
                             corpus.ids[static_cast<size_t>(plan.begin(window) + t)]);
    }
  }
  return std::exp(sum / static_cast<double>(plan.count * plan.scored()));
}

TEST(Evaluate, IsThePerplexityOfEachWindowAlone) {
  Corpus corpus = random_corpus(150);
  for (const auto& [window, stride] : {std::pair(32, 32), {32, 8}, {33, 33}}) {
    const WindowPlan plan = plan_windows(150, {.window = window, .stride = stride}).value();
    for (const bool with_bos : {false, true}) {
      corpus.bos = with_bos ? std::optional<int32_t>(1) : std::nullopt;
      const EvalResult result =
          evaluated(corpus, plan, "", {.precision = Precision::f32, .rows = 100});
      EXPECT_EQ(result.tokens, plan.count * plan.scored());
      EXPECT_FALSE(result.reference.has_value());
      EXPECT_GT(result.perplexity.error, 0.0);
      EXPECT_NEAR(result.perplexity.value / expected_perplexity(kModel, corpus, plan), 1.0, 1e-6)
          << window << ' ' << stride << ' ' << with_bos;
    }
  }
}

TEST(Evaluate, AnotherFirstTokenIsAnotherResult) {
  Corpus corpus = random_corpus(96);
  const WindowPlan plan = plan_windows(96, {.window = 32, .stride = 32}).value();
  const double without = evaluated(corpus, plan, "").perplexity.value;
  corpus.bos = 1;
  EXPECT_NE(evaluated(corpus, plan, "").perplexity.value, without);
}

TEST(Evaluate, BitsDoNotDependOnHowWindowsShareSteps) {
  const Corpus corpus = random_corpus(300);
  const WindowPlan plan = plan_windows(300, {.window = 24, .stride = 24}).value();
  const EvalResult wanted = evaluated(corpus, plan, kReference, {.threads = 1, .rows = 23});
  for (const int64_t rows : {7, 46, 400}) {
    for (const int threads : {1, 3}) {
      const EvalResult result =
          evaluated(corpus, plan, kReference, {.threads = threads, .rows = rows});
      EXPECT_EQ(result.perplexity.value, wanted.perplexity.value) << rows << ' ' << threads;
      EXPECT_EQ(result.perplexity.error, wanted.perplexity.error);
      EXPECT_EQ(result.reference->kl_mean, wanted.reference->kl_mean);
      EXPECT_EQ(result.reference->kl_p99, wanted.reference->kl_p99);
      EXPECT_EQ(result.reference->top1_agreement, wanted.reference->top1_agreement);
    }
  }
  // Few rows of logits at a time.
  ModelOptions options = eval_model_options({.rows = 100}, plan, 160);
  options.logit_rows = 3;
  const auto model = load_model(kModel, options).value();
  EXPECT_EQ(evaluate(*model, nullptr, corpus, plan, go_on)->perplexity.value,
            wanted.perplexity.value);
}

TEST(Evaluate, AModelIsNotFarFromItself) {
  const Corpus corpus = random_corpus(128);
  const WindowPlan plan = plan_windows(128, {.window = 32, .stride = 32}).value();
  const EvalResult result = evaluated(corpus, plan, kModel);
  ASSERT_TRUE(result.reference.has_value());
  EXPECT_EQ(result.reference->kl_mean, 0.0);
  EXPECT_EQ(result.reference->kl_p99, 0.0);
  EXPECT_EQ(result.reference->top1_agreement, 1.0);
  EXPECT_EQ(result.reference->perplexity.value, result.perplexity.value);
}

TEST(Evaluate, DistanceFromAnotherModelIsThatOfTheRows) {
  const Corpus corpus = random_corpus(96);
  const WindowPlan plan = plan_windows(96, {.window = 32, .stride = 32}).value();
  const EvalResult result = evaluated(corpus, plan, kReference, {.precision = Precision::f32});
  const ModelOptions alone{
      .precision = Precision::f32, .context = 32, .rows = 32, .logit_rows = 32};
  const auto model = load_model(kModel, alone).value();
  const auto reference = load_model(kReference, alone).value();
  RunningMean divergence;
  int64_t same = 0;
  for (int64_t window = 0; window < plan.count; ++window) {
    const auto ours = logits_of(*model, corpus, plan, window);
    const auto theirs = logits_of(*reference, corpus, plan, window);
    for (auto row = static_cast<size_t>(plan.first_scored - 1); row < ours.size(); ++row) {
      double kl = 0;
      for (int32_t token = 0; token < 160; ++token) {
        const double q = log_probability(theirs[row], token);
        kl += std::exp(q) * (q - log_probability(ours[row], token));
      }
      divergence.add(kl);
      same += std::ranges::max_element(ours[row]) - ours[row].begin() ==
              std::ranges::max_element(theirs[row]) - theirs[row].begin();
    }
  }
  EXPECT_NEAR(result.reference->kl_mean / divergence.mean(), 1.0, 1e-5);
  EXPECT_GT(result.reference->kl_p99, result.reference->kl_mean);
  EXPECT_DOUBLE_EQ(result.reference->top1_agreement,
                   static_cast<double>(same) / static_cast<double>(result.tokens));
}

TEST(Evaluate, ReportsProgressAndStopsWhenAskedTo) {
  const Corpus corpus = random_corpus(200);
  const WindowPlan plan = plan_windows(200, {.window = 20, .stride = 20}).value();
  const auto model = load(kModel, plan, {.rows = 38});
  std::vector<double> fractions;
  const auto result = evaluate(*model, nullptr, corpus, plan, [&](const EvalProgress& progress) {
    fractions.push_back(progress.fraction);
    EXPECT_GT(progress.perplexity, 1.0);
    return Result<void>();
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(fractions.size(), 5u);  // two windows a step
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.back(), 1.0);
  int steps = 0;
  const auto stopped = evaluate(*model, nullptr, corpus, plan, [&](const EvalProgress&) {
    return ++steps == 2 ? Result<void>(runtime_error("enough")) : Result<void>();
  });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().message, "enough");
  EXPECT_EQ(steps, 2);
}

TEST(EvalModelOptions, BoundTheLogitsOfAStep) {
  const WindowPlan plan = plan_windows(100000, {}).value();
  const ModelOptions small = eval_model_options({.rows = 2048}, plan, 1000);
  EXPECT_EQ(small.sequences, 4);
  EXPECT_EQ(small.rows, 2044);
  EXPECT_EQ(small.logit_rows, 2044);
  EXPECT_EQ(small.context, 512);
  const ModelOptions large = eval_model_options({.rows = 2048}, plan, 151936);
  EXPECT_EQ(large.logit_rows, kLogitsBytes / (151936 * 4));
  EXPECT_EQ(eval_model_options({.rows = 64}, plan, 1000).sequences, 1);
  const WindowPlan one = plan_windows(600, {}).value();
  EXPECT_EQ(eval_model_options({.rows = 2048}, one, 1000).sequences, 1);
}

}  // namespace
}  // namespace dunlin

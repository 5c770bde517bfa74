// DiffusionDecoder: what is computed and decided when, against a network that is a table. The loops
// over real networks are compared with goldens in tests/parity.
#include "decode/diffusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "chi_squared.h"
#include "diffusion_driver.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// ------------------------------------------------------------------------------------ the schedule

// Counts of the published loop.
TEST(DiffusionSchedule, DecidesWhatThePublishedLoopDoes) {
  const auto counts = [](int64_t tokens, int64_t steps) {
    DiffusionDecoder decoder = decoder_of({1, 2}, schedule(tokens, steps));
    run(decoder, right_is_surer);
    return decided(decoder);
  };
  Ids wanted(16, 1);
  wanted.front() = 0;
  wanted.back() = 2;
  EXPECT_EQ(counts(16, 16), wanted);
  wanted.assign(256, 1);
  wanted.front() = 0;
  wanted.back() = 2;
  EXPECT_EQ(counts(256, 256), wanted);
  wanted.assign(128, 2);
  wanted.front() = 1;
  wanted.back() = 3;
  EXPECT_EQ(counts(256, 128), wanted);
  wanted.assign(64, 4);
  wanted.front() = 3;
  wanted.back() = 5;
  EXPECT_EQ(counts(256, 64), wanted);
  EXPECT_EQ(counts(5, 1), Ids{5});
}

TEST(DiffusionSchedule, AStepThatDecidesNothingMakesNoPass) {
  DiffusionDecoder decoder = decoder_of({1, 2}, schedule(16, 16));
  EXPECT_EQ(decoder.decided().size(), 1u);  // the first is behind us already
  run(decoder, right_is_surer);
  EXPECT_EQ(decoder.forward_passes(), 15);
  EXPECT_EQ(decoder.decided().size(), 16u);
}

// The most steps that there can be: all but the last few decide nothing.
TEST(DiffusionSchedule, ManyStepsAreSkippedAtOnce) {
  constexpr int64_t kSteps = 1 << 20;
  DiffusionDecoder decoder = decoder_of({1, 2}, schedule(2, kSteps));
  run(decoder, right_is_surer);
  EXPECT_EQ(std::ssize(decoder.decided()), kSteps);
  EXPECT_LE(decoder.forward_passes(), 2);
  EXPECT_EQ(decoder.masked(), 0);
}

TEST(DiffusionSchedule, EveryPassSeesTheWholeCanvasAndWantsTheMasksAlone) {
  DiffusionDecoder decoder = decoder_of({1, 2, 3}, schedule(4, 2));
  const Trace trace = run(decoder, right_is_surer);
  ASSERT_EQ(trace.passes.size(), 2u);
  for (const DiffusionPass& pass : trace.passes) {
    EXPECT_EQ(pass.first, 0);
    EXPECT_EQ(pass.rows, 7);
    EXPECT_EQ(pass.row_class, RowClass::prompt);
  }
  EXPECT_THAT(trace.passes[0].logit_rows, ElementsAre(2, 3, 4, 5));  // the rows before the masks
  EXPECT_EQ(trace.canvases[0], (Ids{1, 2, 3, kMask, kMask, kMask, 6}));
  EXPECT_EQ(trace.canvases[1], (Ids{1, 2, 3, 3, 4, 5, 6}));
  EXPECT_THAT(trace.passes[1].logit_rows, ElementsAre(2, 3, 4));
}

TEST(DiffusionSchedule, WithoutAShiftARowPredictsItself) {
  DiffusionDecoder decoder = decoder_of({1, 2, 3}, schedule(4, 2), /*shift=*/false);
  EXPECT_THAT(decoder.pending()->logit_rows, ElementsAre(3, 4, 5, 6));
  const Trace trace = run(decoder, right_is_surer, /*shift=*/false);
  EXPECT_EQ(trace.canvases.back(), (Ids{1, 2, 3, 3, 4, 5, 6}));
}

// Masks within the prompt count like those behind it; the first position is predicted by its own row.
TEST(DiffusionSchedule, FillsInThePrompt) {
  DiffusionDecoder decoder = decoder_of({kMask, 2, kMask, 3}, schedule(2, 1));
  EXPECT_THAT(decoder.pending()->logit_rows, ElementsAre(0, 1, 3, 4));
  const Trace trace =
      run(decoder, [](int64_t position) { return right_is_surer(std::max<int64_t>(position, 1)); });
  EXPECT_EQ(trace.canvases.back(), (Ids{1, 2, 2, 3, 4, 5}));
  // Nothing behind it is needed.
  DiffusionDecoder infill = decoder_of({1, kMask, 3}, schedule(0, 4));
  EXPECT_EQ(run(infill, right_is_surer).canvases.back(), (Ids{1, 1, 3}));
}

TEST(DiffusionSchedule, TheSurestComeFirstAndTiesFromTheLeft) {
  for (const auto algorithm : {DiffusionAlgorithm::maskgit_plus, DiffusionAlgorithm::topk_margin,
                               DiffusionAlgorithm::entropy}) {
    DiffusionParams params = schedule(4, 4);
    params.eps = 1e-6;
    params.algorithm = algorithm;
    DiffusionDecoder decoder = decoder_of({1}, params);
    const Trace trace = run(decoder, [](int64_t position) {
      std::vector<float> logits(kVocabulary, 0.0f);
      logits[5] = position == 3 ? 4.0f : 3.0f;
      return logits;
    });
    EXPECT_EQ(decided(decoder), (Ids{0, 1, 1, 2}));
    EXPECT_EQ(trace.canvases[0], (Ids{1, kMask, kMask, 5, kMask}));
    EXPECT_EQ(trace.canvases[1], (Ids{1, 5, kMask, 5, kMask}));
  }
}

// maskgit_plus, topk_margin and entropy disagree about these three positions.
TEST(DiffusionSchedule, AlgorithmsMeasureDifferently) {
  const std::vector<std::vector<float>> p = {{0.50f, 0.20f, 0.15f, 0.15f},  // the best token
                                             {0.44f, 0.13f, 0.13f, 0.12f, 0.12f, 0.06f},  // margin
                                             {0.48f, 0.48f, 0.04f}};  // the lowest entropy
  const auto first = [&p](DiffusionAlgorithm algorithm) {
    DiffusionParams params = schedule(3, 3);
    params.algorithm = algorithm;
    DiffusionDecoder decoder = decoder_of({1}, params);
    const Trace trace = run(decoder, [&p](int64_t position) {
      std::vector<float> logits(kVocabulary, -100.0f);
      const auto& row = p[static_cast<size_t>(std::clamp<int64_t>(position, 1, 3) - 1)];
      for (size_t i = 0; i < row.size(); ++i) logits[i] = std::log(row[i]);
      return logits;
    });
    const Ids& canvas = trace.canvases.front();
    return std::ranges::find_if(canvas.begin() + 1, canvas.end(),
                                [](int32_t id) { return id != kMask; }) -
           canvas.begin();
  };
  EXPECT_EQ(first(DiffusionAlgorithm::maskgit_plus), 1);
  EXPECT_EQ(first(DiffusionAlgorithm::topk_margin), 2);
  EXPECT_EQ(first(DiffusionAlgorithm::entropy), 3);
}

// ------------------------------------------------------------------------------------ random numbers

std::vector<float> flat(int64_t) {
  return std::vector<float>(kVocabulary, 0.0f);
}

TEST(DiffusionRandom, TheSeedDecides) {
  const auto canvas = [](uint64_t seed, DiffusionAlgorithm algorithm, uint32_t choice = 0) {
    DiffusionParams params = schedule(12, 6);
    params.temperature = 1.0f;
    params.alg_temperature = 0.5;
    params.algorithm = algorithm;
    params.seed = seed;
    params.choice = choice;
    DiffusionDecoder decoder = decoder_of({1}, params);
    return run(decoder, flat).canvases;
  };
  for (const auto algorithm : {DiffusionAlgorithm::origin, DiffusionAlgorithm::maskgit_plus,
                               DiffusionAlgorithm::entropy}) {
    EXPECT_EQ(canvas(3, algorithm), canvas(3, algorithm));
    EXPECT_NE(canvas(3, algorithm), canvas(4, algorithm));
    EXPECT_NE(canvas(3, algorithm), canvas(3, algorithm, 1));
  }
}

// In the first step each mask is decided with probability 1 - t1 / t0; the count is binomial.
TEST(DiffusionRandom, OriginDecidesEachMaskByChance) {
  constexpr int64_t kTokens = 20000;
  DiffusionParams params = schedule(kTokens, 4);
  params.algorithm = DiffusionAlgorithm::origin;
  params.seed = 9;
  const DiffusionDecoder decoder = decoder_of({1}, params);
  const double share = unmasked_share(0, 4, params.eps);
  EXPECT_NEAR(share, 0.24975, 1e-9);
  const auto count = static_cast<int64_t>(decoder.pending()->logit_rows.size());
  EXPECT_LT(chi_squared({count, kTokens - count}, {share, 1.0 - share}, kTokens),
            chi_squared_limit(1));
  EXPECT_EQ(unmasked_share(3, 4, params.eps), 1.0);
}

// Every position is drawn with its own numbers, and with others in every step.
TEST(DiffusionRandom, TokensHaveTheDistributionOfTheRow) {
  constexpr int64_t kTokens = 20000;
  DiffusionParams params = schedule(kTokens, 2);
  params.temperature = 0.8f;
  params.algorithm = DiffusionAlgorithm::origin;
  params.seed = 21;
  DiffusionDecoder decoder = decoder_of({1}, params);
  std::vector<float> logits;
  for (int id = 0; id < kVocabulary; ++id)
    logits.push_back(id == kMask ? -1e4f : 1.5f * std::cos(static_cast<float>(3 * id)));
  run(decoder, [&logits](int64_t) { return logits; });
  std::vector<double> expected;
  double sum = 0.0;
  for (const float logit : logits) {
    expected.push_back(std::exp(static_cast<double>(logit) / 0.8));
    sum += expected.back();
  }
  for (double& each : expected) each /= sum;
  std::vector<int64_t> counts(kVocabulary);
  for (const int32_t id : decoder.canvas().subspan(1)) ++counts[static_cast<size_t>(id)];
  EXPECT_LT(chi_squared(counts, expected, kTokens), chi_squared_limit(kVocabulary - 2));
}

// ------------------------------------------------------------------------------------ the end

TEST(DiffusionEnd, TheAnswerIsCutAtTheFirstEndToken) {
  DiffusionParams params = schedule(6, 6);
  params.end_ids = {3, 5};
  DiffusionDecoder decoder = decoder_of({3, 9}, params);
  run(decoder, right_is_surer);
  EXPECT_EQ(Ids(decoder.answer().begin(), decoder.answer().end()), (Ids{2}));
}

TEST(DiffusionEnd, NoPassIsMadeOnceTheAnswerIsCertain) {
  const auto left_is_surer = [](int64_t position) {
    std::vector<float> logits(kVocabulary, 0.0f);
    logits[static_cast<size_t>(position % 10)] = 9.0f - 0.1f * static_cast<float>(position);
    return logits;
  };
  DiffusionParams params = schedule(8, 8);
  DiffusionDecoder whole = decoder_of({9}, params);
  run(whole, left_is_surer);
  params.end_ids = {4};
  DiffusionDecoder early = decoder_of({9}, params);
  run(early, left_is_surer);
  EXPECT_LT(early.forward_passes(), whole.forward_passes());
  EXPECT_EQ(Ids(early.answer().begin(), early.answer().end()), (Ids{1, 2, 3}));
  EXPECT_TRUE(std::ranges::equal(early.answer(), whole.answer().first(3)));
}

// ------------------------------------------------------------------------------------ errors

std::string create_error(Ids prompt, const DiffusionParams& params) {
  const auto decoder = DiffusionDecoder::create(std::move(prompt), kMask, true, params);
  if (decoder.ok()) return "";
  EXPECT_EQ(decoder.error().kind, ErrorKind::usage);
  return decoder.error().message;
}

TEST(DiffusionErrors, NameTheParameter) {
  const auto with = [](auto change) {
    DiffusionParams params;
    change(params);
    return create_error({1}, params);
  };
  EXPECT_EQ(with([](DiffusionParams&) {}), "");
  EXPECT_THAT(with([](auto& p) { p.steps = 0; }), HasSubstr("steps is 0"));
  EXPECT_THAT(with([](auto& p) { p.steps = -4; }), HasSubstr("steps is -4"));
  EXPECT_THAT(with([](auto& p) { p.steps = (1 << 20) + 1; }), HasSubstr("outside 1..1048576"));
  EXPECT_THAT(with([](auto& p) { p.block_length = 0; }), HasSubstr("block_length is 0"));
  EXPECT_THAT(with([](auto& p) { p.block_length = INT64_MAX; }), HasSubstr("block_length is 922"));
  EXPECT_THAT(with([](auto& p) { p.max_tokens = 0; }), HasSubstr("max_tokens is 0"));
  EXPECT_THAT(with([](auto& p) { p.max_tokens = -1; }), HasSubstr("max_tokens is -1"));
  EXPECT_THAT(with([](auto& p) { p.eps = 0.0; }), HasSubstr("eps is 0"));
  EXPECT_THAT(with([](auto& p) { p.eps = 1.0; }), HasSubstr("eps is 1"));
  EXPECT_THAT(with([](auto& p) { p.temperature = -0.1f; }), HasSubstr("temperature is -0.1"));
  EXPECT_THAT(with([](auto& p) { p.top_p = 1.5f; }), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(with([](auto& p) { p.top_k = -1; }), HasSubstr("top_k is -1"));
  EXPECT_THAT(with([](auto& p) { p.alg_temperature = NAN; }), HasSubstr("alg_temp is nan"));
  EXPECT_THAT(with([](auto& p) { p.threshold = 1.1f; }), HasSubstr("threshold is 1.1"));
  EXPECT_THAT(with([](auto& p) { p.entropy_bound = -0.1; }), HasSubstr("entropy_bound is -0.1"));
}

TEST(DiffusionErrors, SayWhatDoesNotGoTogether) {
  DiffusionParams params = schedule(8, 2);
  params.cache = DiffusionCache::dual;
  params.block_length = 2;
  EXPECT_THAT(create_error({1}, params), HasSubstr("steps is 2, but 8 tokens in blocks of 2"));
  params.steps = 4;
  EXPECT_EQ(create_error({1}, params), "");
  EXPECT_THAT(create_error({1, kMask}, params), HasSubstr("the prompt has masks"));
}

TEST(DiffusionErrors, LogitsThatAreNoNumbers) {
  DiffusionDecoder decoder = decoder_of({1}, schedule(1, 1));
  const LogitRow row(std::vector<float>(kVocabulary, 0.0f));
  LogitsView view = row.view();
  view.finite = false;
  const auto accepted = decoder.accept(std::span(&view, 1));
  ASSERT_FALSE(accepted.ok());
  EXPECT_EQ(accepted.error().kind, ErrorKind::runtime);
}

TEST(DiffusionNames, AreThoseOfThePublishedCode) {
  for (const char* name : {"origin", "maskgit_plus", "topk_margin", "entropy",
                           "confidence_threshold", "entropy_bound"}) {
    const auto algorithm = diffusion_algorithm(name);
    ASSERT_TRUE(algorithm.has_value()) << name;
    EXPECT_STREQ(diffusion_algorithm_name(*algorithm), name);
  }
  EXPECT_FALSE(diffusion_algorithm("greedy").has_value());
  EXPECT_EQ(diffusion_cache("dual"), DiffusionCache::dual);
  EXPECT_FALSE(diffusion_cache("both").has_value());
}

}  // namespace
}  // namespace dunlin

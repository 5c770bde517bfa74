// DiffusionDecoder: as many positions in a step as a threshold of confidence or a bound on entropies allows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <vector>

#include "decode/diffusion.h"
#include "diffusion_driver.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

// ------------------------------------------------------------------------------------ a threshold

// Of 2 + what is left over at most: 2 sure; 2 sure; then of 4, 1 of 4 unsure ... until none is left.
TEST(DiffusionThreshold, CarriesOverWhatItDoesNotDecide) {
  DiffusionDecoder decoder = decoder_of({9}, threshold(8, 4, DiffusionCache::none));
  const Trace trace = run(decoder, half_sure);
  EXPECT_EQ(decided(decoder), (Ids{2, 2, 1, 1, 1, 1}));
  EXPECT_EQ(trace.canvases.back(), (Ids{9, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(decoder.forward_passes(), 6);
}

TEST(DiffusionThreshold, TheRemainderFallsToTheLastStep) {
  DiffusionParams params = threshold(7, 3, DiffusionCache::none);
  params.threshold = 0.0f;
  DiffusionDecoder decoder = decoder_of({9}, params);
  run(decoder, half_sure);
  EXPECT_EQ(decided(decoder), (Ids{2, 2, 3}));
  // More steps than masks: one each.
  params = threshold(3, 10, DiffusionCache::none);
  params.threshold = 0.0f;
  DiffusionDecoder single = decoder_of({9}, params);
  run(single, half_sure);
  EXPECT_EQ(decided(single), (Ids{1, 1, 1}));
}

// ------------------------------------------------------------------------------------ an entropy bound

DiffusionParams entropy_bound(int64_t tokens, double bound,
                              DiffusionCache cache = DiffusionCache::none,
                              int64_t block_length = 32) {
  return {.max_tokens = tokens,
          .steps = 1,
          .algorithm = DiffusionAlgorithm::entropy_bound,
          .cache = cache,
          .block_length = block_length,
          .entropy_bound = bound};
}

// Entropies of 0.018 nats right of position 4, of 2.72 up to there.
TEST(DiffusionEntropyBound, DecidesAsManyAsTheBoundAllows) {
  const auto counts = [](double bound) {
    DiffusionDecoder decoder = decoder_of({9}, entropy_bound(8, bound));
    const Trace trace = run(decoder, half_sure);
    EXPECT_EQ(trace.canvases.back(), (Ids{9, 1, 2, 3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(decoder.forward_passes(), std::ssize(trace.passes));
    return decided(decoder);
  };
  EXPECT_EQ(counts(0.0), (Ids{1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(counts(0.03), (Ids{2, 2, 1, 1, 1, 1}));
  // Four sure ones, and one whose own entropy is the largest and does not count.
  EXPECT_EQ(counts(0.1), (Ids{5, 1, 1, 1}));
  EXPECT_EQ(counts(3.0), (Ids{6, 2}));
  EXPECT_EQ(counts(100.0), Ids{8});
}

TEST(DiffusionEntropyBound, EveryPassWithoutACacheSeesTheWholeCanvas) {
  DiffusionDecoder decoder = decoder_of({9, kMask}, entropy_bound(4, 0.1));
  const Trace trace = run(decoder, half_sure);
  for (const DiffusionPass& pass : trace.passes) {
    EXPECT_EQ(pass.first, 0);
    EXPECT_EQ(pass.rows, 6);
  }
  EXPECT_EQ(decoder.masked(), 0);
}

// Token 5 everywhere, sure from position 5 on.
std::vector<float> sure_behind_four(int64_t position) {
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[5] = position > 4 ? 9.0f : 1.0f;
  return logits;
}

TEST(DiffusionEntropyBound, BlocksTakeWhatTheirFirstPassIsSureOf) {
  DiffusionDecoder decoder = decoder_of({9}, entropy_bound(8, 0.1, DiffusionCache::dual, 4));
  const Trace trace = run(decoder, sure_behind_four);
  EXPECT_EQ(decided(decoder), (Ids{1, 1, 1, 1, 4}));
  std::vector<int64_t> rows;
  for (const DiffusionPass& pass : trace.passes) rows.push_back(pass.rows);
  EXPECT_EQ(rows, (std::vector<int64_t>{9, 4, 4, 4, 9}));
}

// The row that predicts the first token is in no pass over the block alone.
TEST(DiffusionEntropyBound, TheFirstTokenOfABlockIsDecidedAtOnce) {
  DiffusionDecoder decoder = decoder_of({9}, entropy_bound(4, 0.03, DiffusionCache::dual, 4));
  const Trace trace = run(decoder, [](int64_t position) {
    std::vector<float> logits(kVocabulary, 0.0f);
    logits[5] = position > 1 ? 9.0f : 1.0f;
    return logits;
  });
  EXPECT_EQ(decided(decoder), (Ids{3, 1}));
  EXPECT_EQ(trace.canvases[0], (Ids{9, 5, 5, 5, kMask}));
  EXPECT_EQ(trace.passes[1].first, 1);
  EXPECT_THAT(trace.passes[1].logit_rows, ElementsAre(2));
}

TEST(DiffusionEntropyBound, APredictedMaskIsNoEndlessLoop) {
  for (const DiffusionCache cache : {DiffusionCache::none, DiffusionCache::dual}) {
    DiffusionDecoder decoder = decoder_of({1}, entropy_bound(4, 0.1, cache, 2));
    run(decoder, [](int64_t) {
      std::vector<float> logits(kVocabulary, 0.0f);
      logits[kMask] = 9.0f;
      return logits;
    });
    EXPECT_EQ(decoder.pending(), nullptr);
  }
}

TEST(DiffusionThreshold, APredictedMaskIsNoEndlessLoop) {
  for (const DiffusionCache cache : {DiffusionCache::none, DiffusionCache::dual}) {
    DiffusionDecoder decoder = decoder_of({1}, threshold(4, 2, cache, 2));
    run(decoder, [](int64_t position) {
      std::vector<float> logits(kVocabulary, 0.0f);
      logits[position == 2 ? size_t{kMask} : size_t{3}] = 4.0f;
      return logits;
    });
    EXPECT_EQ(Ids(decoder.canvas().begin(), decoder.canvas().end()), (Ids{1, 3, kMask, 3, 3}));
  }
}

}  // namespace
}  // namespace dunlin

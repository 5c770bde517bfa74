// DiffusionDecoder: blocks of a canvas, and what a pass computes of it with each cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "decode/diffusion.h"
#include "diffusion_driver.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

TEST(DiffusionBlocks, EachOpensWithTheWholeCanvasAndGoesOnWithItself) {
  DiffusionDecoder decoder = decoder_of({9}, threshold(6, 6, DiffusionCache::dual, 4));
  const Trace trace = run(decoder, half_sure);
  // Block [1, 5): its first token, then three unsure ones; block [5, 7), shorter: first, then one.
  ASSERT_EQ(trace.passes.size(), 6u);
  EXPECT_EQ(decided(decoder), (Ids{1, 1, 1, 1, 1, 1}));
  for (const size_t opening : {size_t{0}, size_t{4}}) {
    EXPECT_EQ(trace.passes[opening].first, 0);
    EXPECT_EQ(trace.passes[opening].rows, 7);
    EXPECT_EQ(trace.passes[opening].row_class, RowClass::prompt);
    EXPECT_EQ(trace.passes[opening].logit_rows.size(), 1u);
  }
  EXPECT_THAT(trace.passes[0].logit_rows, ElementsAre(0));
  EXPECT_THAT(trace.passes[4].logit_rows, ElementsAre(4));
  EXPECT_EQ(trace.passes[1].first, 1);
  EXPECT_EQ(trace.passes[1].rows, 4);
  EXPECT_EQ(trace.passes[1].row_class, RowClass::generated);
  EXPECT_THAT(trace.passes[1].logit_rows, ElementsAre(0, 1, 2));
  EXPECT_EQ(trace.passes[5].first, 5);
  EXPECT_EQ(trace.passes[5].rows, 2);
  EXPECT_EQ(trace.canvases.back(), (Ids{9, 1, 2, 3, 4, 5, 6}));
}

TEST(DiffusionBlocks, APrefixCacheComputesWhatIsBehindTheBlockToo) {
  DiffusionDecoder decoder = decoder_of({9}, threshold(6, 6, DiffusionCache::prefix, 4));
  const Trace trace = run(decoder, half_sure);
  EXPECT_EQ(trace.passes[1].first, 1);
  EXPECT_EQ(trace.passes[1].rows, 6);
  EXPECT_THAT(trace.passes[1].logit_rows, ElementsAre(0, 1, 2));  // of the block alone
}

TEST(DiffusionBlocks, ARefreshComputesAllPositionsAnew) {
  for (const int64_t every : {1, 2}) {
    DiffusionParams params = threshold(6, 6, DiffusionCache::dual, 6);
    params.refresh_every = every;
    params.threshold = 1.0f;
    DiffusionDecoder decoder = decoder_of({9}, params);
    const Trace trace = run(decoder, half_sure);
    ASSERT_EQ(trace.passes.size(), 6u);
    for (size_t i = 1; i < trace.passes.size(); ++i) {
      const bool whole = i % static_cast<size_t>(every) == 0;
      EXPECT_EQ(trace.passes[i].rows, whole ? 7 : 6) << i;
    }
  }
}

// 8 steps over 2 blocks: 4 each, of which the first opens the block.
TEST(DiffusionBlocks, OtherAlgorithmsFollowTheScheduleOfTheBlock) {
  DiffusionParams params = schedule(16, 8);
  params.cache = DiffusionCache::dual;
  params.block_length = 8;
  DiffusionDecoder decoder = decoder_of({1}, params);
  run(decoder, right_is_surer);
  // 7 masks after the opening: 7 (1 - t2/t1), of the rest (1 - t3/t2), then all.
  const auto second = unmasked_count(7, 1, 4, params.eps);
  const auto third = unmasked_count(7 - second, 2, 4, params.eps);
  const auto last = 7 - second - third;
  const Ids block = {1, static_cast<int32_t>(second), static_cast<int32_t>(third),
                     static_cast<int32_t>(last)};
  Ids wanted = block;
  wanted.insert(wanted.end(), block.begin(), block.end());
  EXPECT_EQ(decided(decoder), wanted);
  EXPECT_EQ(decoder.masked(), 0);
}

// All but the first and the last decide nothing.
TEST(DiffusionBlocks, ManyStepsOfABlockAreSkippedAtOnce) {
  constexpr int64_t kSteps = 1 << 20;
  DiffusionParams params = schedule(2, kSteps);
  params.cache = DiffusionCache::dual;
  params.block_length = 2;
  DiffusionDecoder decoder = decoder_of({1}, params);
  run(decoder, right_is_surer);
  EXPECT_EQ(std::ssize(decoder.decided()), kSteps);
  EXPECT_EQ(decoder.forward_passes(), 2);
  EXPECT_EQ(decoder.masked(), 0);
}

TEST(DiffusionBlocks, OneStepForABlockDecidesAllOfIt) {
  DiffusionParams params = schedule(6, 3);
  params.cache = DiffusionCache::prefix;
  params.block_length = 2;
  DiffusionDecoder decoder = decoder_of({1}, params);
  const Trace trace = run(decoder, right_is_surer);
  EXPECT_EQ(decided(decoder), (Ids{2, 2, 2}));
  for (const DiffusionPass& pass : trace.passes) EXPECT_EQ(pass.rows, 7);
  EXPECT_EQ(trace.canvases.back(), (Ids{1, 1, 2, 3, 4, 5, 6}));
}

}  // namespace
}  // namespace dunlin

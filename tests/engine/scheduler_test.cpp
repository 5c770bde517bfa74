// Scheduler: rows and pages of a step, on bookkeeping alone.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <numeric>

namespace dunlin {
namespace {

using Rows = std::vector<int64_t>;

struct Fixture {
  explicit Fixture(int64_t rows, int64_t pages = 1000, int64_t window = 0)
      : groups{{.window = window, .pages = pages}},
        cache({.groups = groups, .slots = 8, .context = 1600}),
        sessions(cache, 8),
        scheduler({.rows = rows, .logit_rows = 8, .sequences = 8, .context = 1600}, groups, cache,
                  sessions) {}

  // A sequence that holds `length` tokens.
  int32_t open(int64_t length) {
    const int32_t slot = cache.open({})->slot;
    EXPECT_TRUE(cache.reserve(slot, length).ok());
    std::vector<int32_t> tokens(static_cast<size_t>(length));
    std::iota(tokens.begin(), tokens.end(), slot * 10000);
    cache.commit(slot, tokens, RowClass::prompt);
    return slot;
  }
  void decoding(int64_t length) {
    demands.push_back({.slot = open(length), .rows = 1, .tokens = length + 1});
  }
  void prompt(int64_t rows, int64_t computed = 0) {
    demands.push_back(
        {.slot = open(computed), .prefill = true, .rows = rows, .tokens = computed + rows});
  }
  Rows schedule() {
    const auto rows = scheduler.schedule(demands, [this](size_t i) {
      preempted.push_back(i);
      cache.close(demands[i].slot);
    });
    return Rows(rows.begin(), rows.end());
  }

  std::vector<KvCacheGroup> groups;
  KvCache cache;
  Sessions sessions;
  Scheduler scheduler;
  std::vector<Demand> demands;
  std::vector<size_t> preempted;
};

TEST(ShareRows, DecodesComeBeforePromptsWhateverTheirAge) {
  Fixture f(/*rows=*/32);
  f.prompt(500);
  f.decoding(100);
  f.decoding(7);
  EXPECT_EQ(f.schedule(), (Rows{30, 1, 1}));
}

TEST(ShareRows, PromptsFollowEachOtherInOrderOfArrival) {
  Fixture f(/*rows=*/32);
  f.prompt(10);
  f.prompt(500);
  f.prompt(500);
  EXPECT_EQ(f.schedule(), (Rows{10, 22, 0}));
}

// Up to half of the rows, and only whole: a piece of a younger prompt would delay the older one
// without bringing anybody an answer.
TEST(ShareRows, ShortPromptsPassALongOneWhichKeepsHalf) {
  Fixture f(/*rows=*/32);
  f.prompt(500);
  f.prompt(9);
  f.prompt(200);
  f.prompt(8);
  f.prompt(7);
  EXPECT_EQ(f.schedule(), (Rows{16, 9, 0, 0, 7}));
}

TEST(ShareRows, OneRowIsEnoughToGoOn) {
  Fixture f(/*rows=*/3);
  f.decoding(4);
  f.prompt(100);
  f.decoding(4);
  f.prompt(1);
  EXPECT_EQ(f.schedule(), (Rows{1, 1, 1, 0}));
}

TEST(ShareRows, NeverMoreThanTheLimitAndNeverNothing) {
  for (int64_t limit = 1; limit < 40; ++limit) {
    for (int variant = 0; variant < 27; ++variant) {
      Fixture f(limit);
      for (int i = 0, v = variant; i < 3; ++i, v /= 3) {
        if (v % 3 == 0) f.decoding(5);
        if (v % 3 == 1) f.prompt(3);
        if (v % 3 == 2) f.prompt(60);
      }
      const Rows rows = f.schedule();
      const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
      EXPECT_LE(total, limit);
      EXPECT_GE(total, std::min<int64_t>(limit, 3));
    }
  }
}

TEST(Pages, TheYoungestGivesWayToTheOldest) {
  Fixture f(/*rows=*/32, /*pages=*/6);
  f.decoding(32);  // needs a third page
  f.decoding(31);
  f.decoding(15);
  f.decoding(16);
  ASSERT_EQ(f.cache.free_pages(0), 0);
  EXPECT_EQ(f.schedule(), (Rows{1, 1, 1, 0}));
  EXPECT_EQ(f.preempted, (std::vector<size_t>{3}));
  EXPECT_EQ(f.cache.free_pages(0), 0);
}

TEST(Pages, TheSequenceItselfGivesWayWhenItIsTheYoungest) {
  Fixture f(/*rows=*/32, /*pages=*/4);
  f.decoding(31);
  f.decoding(32);
  EXPECT_EQ(f.schedule(), (Rows{1, 0}));
  EXPECT_EQ(f.preempted, (std::vector<size_t>{1}));
}

TEST(Pages, SessionsNobodyUsesAreClosedFirst) {
  Fixture f(/*rows=*/32, /*pages=*/8);
  f.sessions.keep(1, f.open(32));
  f.sessions.keep(2, f.open(32));
  f.decoding(32);
  f.decoding(32);
  EXPECT_EQ(f.schedule(), (Rows{1, 1}));
  EXPECT_TRUE(f.preempted.empty());
  EXPECT_EQ(f.cache.free_pages(0), 0);
  EXPECT_TRUE(f.sessions.close_oldest());  // 2: only the least recently used one was closed
  EXPECT_FALSE(f.sessions.close_oldest());
}

TEST(Pages, ASequenceBeginsWhenItsTokensFitBesideWhatOthersNeed) {
  Fixture f(/*rows=*/32, /*pages=*/10);
  f.prompt(/*rows=*/64, /*computed=*/16);  // holds one page, needs four more
  const int32_t next = f.open(0);
  // Nine pages are free: four are promised, one for each sequence is spare.
  EXPECT_TRUE(f.scheduler.may_begin(f.demands, next, 48));
  EXPECT_FALSE(f.scheduler.may_begin(f.demands, next, 49));
  EXPECT_TRUE(f.scheduler.may_begin({}, next, 1600));
  f.sessions.keep(1, f.open(16));
  EXPECT_TRUE(f.scheduler.may_begin(f.demands, next, 48));
  EXPECT_FALSE(f.sessions.close_oldest());  // it made room
}

TEST(Pages, AWindowNeedsNoPromise) {
  Fixture f(/*rows=*/32, /*pages=*/100, /*window=*/32);
  f.prompt(1000);
  EXPECT_TRUE(f.scheduler.may_begin(f.demands, f.open(0), 1599));
}

// Behind pages 0 and 1 of the first, 0 of the second: what eight positions more need.
TEST(Pages, AreReservedAheadWhereThereAreEnough) {
  Fixture f(/*rows=*/32, /*pages=*/6);
  f.decoding(28);
  f.decoding(15);
  f.schedule();
  ASSERT_EQ(f.cache.free_pages(0), 3);
  EXPECT_TRUE(f.scheduler.reserve_ahead(f.demands, Rows{4, 1}));
  EXPECT_EQ(f.cache.free_pages(0), 3);
  EXPECT_TRUE(f.scheduler.reserve_ahead(f.demands, Rows{8, 8}));
  EXPECT_EQ(f.cache.free_pages(0), 1);
  // What is reserved and not written goes back.
  EXPECT_TRUE(f.cache.truncate(f.demands[0].slot, 28).ok());
  EXPECT_EQ(f.cache.free_pages(0), 2);
}

TEST(Pages, AreNotReservedAheadAtTheCostOfOthers) {
  Fixture f(/*rows=*/32, /*pages=*/6);
  f.sessions.keep(1, f.open(16));
  f.decoding(28);
  f.decoding(28);
  f.schedule();
  ASSERT_EQ(f.cache.free_pages(0), 1);
  EXPECT_FALSE(f.scheduler.reserve_ahead(f.demands, Rows{8, 8}));
  EXPECT_EQ(f.cache.free_pages(0), 1);
  EXPECT_TRUE(f.scheduler.reserve_ahead(f.demands, Rows{8, 4}));
  EXPECT_TRUE(f.preempted.empty());
  EXPECT_TRUE(f.sessions.close_oldest());  // it was left alone
}

}  // namespace
}  // namespace dunlin

// ThreadPool: every task once, stealing, sleep and wake, oversubscription, flush-to-zero.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

namespace dunlin {
namespace {

std::unique_ptr<ThreadPool> make_pool(int threads) {
  return std::move(ThreadPool::create(threads).value());
}

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEveryTaskOnceWithinThePieces) {
  const auto pool = make_pool(GetParam());
  EXPECT_EQ(pool->threads(), GetParam());
  for (const int64_t tasks : {1, 2, 3, 7, 64, 1000}) {
    for (const int64_t grain : {1, 3, 16, 5000}) {
      std::vector<int> seen(
          static_cast<size_t>(tasks));  // plain: the pool alone must order these writes
      std::atomic<bool> wrong{false};
      pool->parallel_for(tasks, grain, [&](int64_t begin, int64_t end, int worker) {
        if (end - begin > grain || begin % grain != 0 || worker < 0 || worker >= GetParam())
          wrong = true;
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_FALSE(wrong);
      EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(tasks), 1)) << tasks << " by " << grain;
    }
  }
}

TEST_P(ThreadPoolTest, ResultsOfOneLoopAreVisibleInTheNext) {
  const auto pool = make_pool(GetParam());
  std::vector<int64_t> values(257);
  for (int round = 0; round < 300; ++round) {
    pool->parallel_for(257, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        // Reads what other workers wrote in the round before.
        if (i <= 256 - i) values[static_cast<size_t>(i)] = values[static_cast<size_t>(256 - i)] + 1;
      }
    });
    pool->parallel_for(257, 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        if (i > 256 - i) values[static_cast<size_t>(i)] = values[static_cast<size_t>(256 - i)];
      }
    });
  }
  EXPECT_EQ(values, std::vector<int64_t>(257, 300));
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8, 64));

TEST(ThreadPool, NoTasksCallNothing) {
  const auto pool = make_pool(2);
  int calls = 0;
  pool->parallel_for(0, 1, [&](int64_t, int64_t, int) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ThreadPool, IdleWorkersStealFromABusyOne) {
  const auto pool = make_pool(2);
  // Piece 0 waits until every other piece ran, so the rest of worker 0's own half can only run if
  // it is stolen.
  std::atomic<int> done{0};
  pool->parallel_for(16, 1, [&](int64_t begin, int64_t, int) {
    if (begin == 0) {
      while (done.load() < 15) std::this_thread::yield();
    } else {
      done.fetch_add(1);
    }
  });
  EXPECT_EQ(done.load(), 15);
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  const auto pool = make_pool(4);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spin
    std::atomic<int64_t> sum{0};
    pool->parallel_for(100, 1, [&](int64_t begin, int64_t, int) { sum.fetch_add(begin); });
    EXPECT_EQ(sum.load(), 4950);
  }
}

TEST(ThreadPool, CallerSleepsUntilASlowWorkerIsDone) {
  const auto pool = make_pool(2);
  std::atomic<int> finished{0};
  pool->parallel_for(2, 1, [&](int64_t, int64_t, int worker) {
    if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    finished.fetch_add(1);
  });
  EXPECT_EQ(finished.load(), 2);
}

TEST(ThreadPool, EveryWorkerFlushesDenormals) {
  const auto pool = make_pool(4);
  std::atomic<int> kept{0};
  pool->parallel_for(64, 1, [&](int64_t, int64_t, int) {
    volatile float tiny = 1e-30f;
    volatile float product = tiny * 1e-10f;
    if (product != 0.0f) kept.fetch_add(1);
  });
  EXPECT_EQ(kept.load(), 0);
  volatile float tiny = 1e-30f;
  volatile float product = tiny * 1e-10f;
  EXPECT_GT(product, 0.0f) << "the caller's own mode is restored";
}

TEST(ThreadPool, TemporaryAndConstCallablesWork) {
  const auto pool = make_pool(2);
  std::atomic<int> calls{0};
  const auto count = [&calls](int64_t, int64_t, int) { calls.fetch_add(1); };
  pool->parallel_for(4, 1, count);
  EXPECT_EQ(calls.load(), 4);
}

class WorkLog final : public LoopObserver {
 public:
  explicit WorkLog(int threads) : loops(static_cast<size_t>(threads)) {}
  void worked(int worker, int64_t begin_ns, int64_t end_ns) noexcept override {
    const auto index = static_cast<size_t>(worker);
    ++loops[index];
    ordered = ordered && begin_ns <= end_ns;
  }

  std::vector<int> loops;  // plain: the pool alone must order these writes
  std::atomic<bool> ordered{true};
};

TEST(ThreadPool, AnObserverHearsOfEveryWorkerOncePerLoop) {
  const auto pool = make_pool(3);
  WorkLog log(3);
  const auto nothing = [](int64_t, int64_t, int) {};
  pool->parallel_for(30, 1, nothing);
  pool->observe(&log);
  for (int loop = 0; loop < 4; ++loop) pool->parallel_for(30, 1, nothing);
  pool->parallel_for(5, 5, nothing);  // one piece: the caller alone
  EXPECT_EQ(log.loops, (std::vector<int>{4, 4, 4}));
  EXPECT_TRUE(log.ordered);
  pool->observe(nullptr);
  pool->parallel_for(30, 1, nothing);
  EXPECT_EQ(log.loops, (std::vector<int>{4, 4, 4}));
}

TEST(ThreadPool, RefusesACountItCannotServe) {
  EXPECT_FALSE(ThreadPool::create(0).ok());
  EXPECT_FALSE(ThreadPool::create(1 << 20).ok());
  EXPECT_NE(ThreadPool::create(-3).error().message.find("-3 threads"), std::string::npos);
}

}  // namespace
}  // namespace dunlin

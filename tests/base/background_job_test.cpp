// BackgroundJob: its work is waited for or stopped, and never outlives it.
#include "base/background_job.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

namespace dunlin {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<BackgroundJob> start(BackgroundJob::Work work) {
  auto job = BackgroundJob::start(std::move(work));
  EXPECT_TRUE(job.ok()) << job.error().message;
  return std::move(job).value();
}

// However long it takes.
void wait_for_end(BackgroundJob& job) {
  while (!job.wait_for(milliseconds(20))) {
  }
}

TEST(BackgroundJob, WhatItWroteIsThereOnceItIsOver) {
  int written = 0;  // plain: the job alone orders write and read
  const auto job = start([&written](const std::atomic<bool>&) { written = 7; });
  wait_for_end(*job);
  EXPECT_EQ(written, 7);
  EXPECT_TRUE(job->wait_for(milliseconds(0)));
}

TEST(BackgroundJob, IsNotOverWhileItWorks) {
  std::atomic<bool> may_end = false;
  const auto job = start([&may_end](const std::atomic<bool>&) {
    while (!may_end) std::this_thread::yield();
  });
  EXPECT_FALSE(job->wait_for(milliseconds(1)));
  may_end = true;
  wait_for_end(*job);
}

TEST(BackgroundJob, IsStopped) {
  const auto work = [](const std::atomic<bool>& stop) {
    while (!stop) std::this_thread::yield();
  };
  const auto job = start(work);
  EXPECT_FALSE(job->wait_for(milliseconds(1)));
  job->stop();
  wait_for_end(*job);
}

// Else the test would end the process: a thread that still runs when its object goes is std::terminate().
TEST(BackgroundJob, ItsEndStopsTheWorkAndWaitsForIt) {
  std::atomic<bool> returned = false;
  {
    const auto job = start([&returned](const std::atomic<bool>& stop) {
      while (!stop) std::this_thread::yield();
      std::this_thread::sleep_for(milliseconds(20));
      returned = true;
    });
  }
  EXPECT_TRUE(returned);
}

TEST(BackgroundJob, StepsBackBehindOthers) {
  const int mine = ::getpriority(PRIO_PROCESS, 0);
  int its = 0;
  const auto job =
      start([&its](const std::atomic<bool>&) { its = ::getpriority(PRIO_PROCESS, 0); });
  wait_for_end(*job);
  EXPECT_GE(its, 10);
  EXPECT_GE(its, mine);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), mine);  // that of one thread
}

}  // namespace
}  // namespace dunlin

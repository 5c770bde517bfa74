// How a command ends while its packed weights are written: signals drop them.
#include "cli/pack_cache_flags.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>

#include "cli/interrupt.h"

namespace dunlin {
namespace {

TEST(WaitAtTheEnd, WaitsUntilASignalComes) {
  PackCacheSettings settings;
  wait_at_the_end(settings, /*quiet=*/true, /*verbose=*/false);
  EXPECT_FALSE(settings.ended);
  for (const int signal : {SIGINT, SIGTERM}) {
    for (int i = 0; i < 40; ++i) EXPECT_TRUE(settings.still_waits());
    ASSERT_EQ(::raise(signal), 0);  // it was not caught before
    EXPECT_FALSE(settings.still_waits());
    EXPECT_FALSE(settings.still_waits());
    EXPECT_EQ(pending_interrupt(), signal);  // the command sees it, too
    clear_interrupt();
  }
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_DFL);
}

TEST(WaitAtTheEnd, SaysWhatBecameOfThemToThoseWhoAsk) {
  PackCacheSettings settings;
  wait_at_the_end(settings, /*quiet=*/false, /*verbose=*/true);
  ASSERT_TRUE(settings.ended);
  testing::internal::CaptureStderr();
  settings.ended("kept");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "cache    kept\n");
}

TEST(WaitAtTheEnd, SaysThatItWaitsOnceItTakesLong) {
  PackCacheSettings settings;
  wait_at_the_end(settings, /*quiet=*/false, /*verbose=*/false);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(settings.still_waits());
  std::fflush(stderr);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(settings.still_waits());
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "cache    the packed weights are still written; Ctrl-C drops them\n");
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_DFL);
}

TEST(PackCacheFlags, MegabytesAreMillions) {
  PackCacheFlags flags;
  EXPECT_EQ(flags.settings().least_bytes, PackCacheSettings::kLeastBytes);
  flags.least_megabytes = 3;
  EXPECT_EQ(flags.settings().least_bytes, 3'000'000u);
}

}  // namespace
}  // namespace dunlin

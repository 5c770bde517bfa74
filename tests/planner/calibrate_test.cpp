// Calibration through the CPU back end: every rate is there and of a possible size.
#include "planner/calibrate.h"

#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"

namespace dunlin {
namespace {

TEST(Calibrate, FillsEveryRate) {
  std::vector<double> fractions;
  const auto backend = make_cpu_backend();
  const CpuRates rates =
      calibrate(*backend, {.cpu = "test",
                           .threads = 2,
                           .seconds = 0.05,
                           .stream = [](int, uint64_t, double) -> Result<double> { return 1e10; },
                           .progress = [&](double fraction,
                                           const std::string&) { fractions.push_back(fraction); }})
          .value();
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.back(), 1);
  EXPECT_EQ(rates.threads, 2);
  EXPECT_EQ(rates.stream.size(), 3u);
  EXPECT_EQ(rates.formats.size(), 6u);
  EXPECT_GT(rates.peak_flops(), 1e8);
  EXPECT_LT(rates.step_seconds, 0.1);
  for (const FormatRates& row : rates.formats) EXPECT_LE(row.decode_fraction, 1) << row.format;
  EXPECT_LE(rates.kv_fraction, 1);
  EXPECT_EQ(rates.hertz, 3e9);
  // The file that keeps it refuses what is missing or not positive.
  EXPECT_TRUE(parse_cpu_rates(to_json(rates), "calibration").ok());
}

TEST(Calibrate, PassesOnAStreamThatFails) {
  const auto backend = make_cpu_backend();
  const auto result = calibrate(*backend, {.cpu = "test",
                                           .threads = 1,
                                           .seconds = 0.01,
                                           .stream = [](int, uint64_t, double) -> Result<double> {
                                             return runtime_error("no memory");
                                           }});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "no memory");
}

}  // namespace
}  // namespace dunlin

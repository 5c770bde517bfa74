#include "cli/bench_model.h"

#include <gtest/gtest.h>

#include "cli/chat_settings.h"

namespace dunlin {
namespace {

using Values = std::vector<int64_t>;

TEST(ParseBenchList, TakesListsAndRanges) {
  EXPECT_EQ(parse_bench_list("512").value(), (Values{512}));
  EXPECT_EQ(parse_bench_list("1,2,0").value(), (Values{1, 2, 0}));
  EXPECT_EQ(parse_bench_list("1-4").value(), (Values{1, 2, 3, 4}));
  EXPECT_EQ(parse_bench_list("1-9+4").value(), (Values{1, 5, 9}));
  EXPECT_EQ(parse_bench_list("64-512*2,7").value(), (Values{64, 128, 256, 512, 7}));
}

TEST(ParseBenchList, RefusesTheRest) {
  for (const char* text : {"", ",", "1,", "a", "-3", "1-", "4-1", "1-4+", "1-4+0", "1-4*1", "0-4*2",
                           "1-4*2x", "1-9999", "9999999999", "010", "0x8", "01-4"}) {
    const auto list = parse_bench_list(text);
    ASSERT_FALSE(list.ok()) << text;
    EXPECT_EQ(list.error().kind, ErrorKind::usage);
  }
}

TEST(BenchTest, NamesAreThoseOfLlamaBench) {
  EXPECT_EQ((BenchTest{.prompt = 512}).name(), "pp512");
  EXPECT_EQ((BenchTest{.generate = 128}).name(), "tg128");
  EXPECT_EQ((BenchTest{.prompt = 512, .generate = 128}).name(), "pp512+tg128");
  EXPECT_EQ((BenchTest{.generate = 32, .depth = 4096}).name(), "tg32 @ d4096");
}

TEST(BenchSamples, RatesAndTheirSpread) {
  const BenchSamples samples{
      .nanoseconds = {1'000'000'000, 500'000'000}, .tokens = 10, .weight_passes = 1};
  EXPECT_EQ(samples.tokens_per_second(), (std::vector<double>{10.0, 20.0}));
  EXPECT_DOUBLE_EQ(mean({10.0, 20.0, 60.0}), 30.0);
  EXPECT_DOUBLE_EQ(standard_deviation({2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}), 2.138089935299395);
  EXPECT_EQ(standard_deviation({3.0}), 0.0);
}

TEST(BenchSamples, PassesOfEquallyManyRowsAreAddedUp) {
  BenchSamples samples;
  samples.add_pass(160, 500);
  samples.add_pass(32, 100);
  samples.add_pass(32, 120);
  samples.add_pass(160, 700);
  ASSERT_EQ(samples.pass_times.size(), 2u);
  EXPECT_EQ(samples.pass_times[0].rows, 160);
  EXPECT_EQ(samples.pass_times[0].passes, 2);
  EXPECT_EQ(samples.pass_times[0].nanoseconds, 1200);
  EXPECT_EQ(samples.pass_times[1].rows, 32);
  EXPECT_EQ(samples.pass_times[1].passes, 2);
  EXPECT_EQ(samples.pass_times[1].nanoseconds, 220);
}

TEST(ChatSettings, SetChecksNamesAndValues) {
  ChatSettings settings;
  EXPECT_TRUE(settings.set("temp", "0.25", 100).ok());
  EXPECT_TRUE(settings.set("temperature", "0.5", 100).ok());
  EXPECT_TRUE(settings.set("top_k", "12", 100).ok());
  EXPECT_TRUE(settings.set("seed", "18446744073709551615", 100).ok());
  EXPECT_TRUE(settings.set("max-tokens", "-1", 100).ok());
  EXPECT_EQ(settings.sampling.temperature, 0.5f);
  EXPECT_EQ(settings.sampling.top_k, 12);
  EXPECT_EQ(settings.sampling.seed, UINT64_MAX);
  EXPECT_NE(settings.text().find("temp 0.5\n"), std::string::npos);
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"temp", "warm"},
                                                        {"temp", "-1"},
                                                        {"temp", "0.5x"},
                                                        {"top-p", "2"},
                                                        {"volume", "11"},
                                                        {"max-tokens", "-2"},
                                                        {"top-k", "1.5"}}) {
    const auto result = settings.set(name, value, 100);
    ASSERT_FALSE(result.ok()) << name << " " << value;
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
  }
  EXPECT_EQ(settings.sampling.temperature, 0.5f);
}

}  // namespace
}  // namespace dunlin

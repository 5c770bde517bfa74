// Rates of a processor: interpolation, the nearest format, and JSON.
#include "planner/cpu_rates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "planner/calibrate.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

CpuRates example() {
  CpuRates rates;
  rates.cpu = "Some \"CPU\" @ 3 GHz";
  rates.threads = 2;
  rates.isa = "avx512";
  rates.calibrated = true;
  rates.stream = {{1e6, 100e9}, {1e8, 50e9}};
  rates.formats = {{"BF16", 0.9, 1e11, 2e12}, {"Q8_0", 0.8, 3e11, 1e12}, {"Q4_0", 0.7, 4e11, 9e11}};
  rates.kv_fraction = 0.6;
  rates.attention_flops = 1e11;
  rates.step_seconds = 5e-6;
  rates.element_seconds = 2e-10;
  rates.prompt_score_seconds = 3e-10;
  rates.generated_score_seconds = 4e-10;
  return rates;
}

TEST(CpuRates, StreamIsInterpolatedByTheLogarithm) {
  const CpuRates rates = example();
  EXPECT_DOUBLE_EQ(rates.stream_bytes_per_second(1), 100e9);
  EXPECT_NEAR(rates.stream_bytes_per_second(1e7), 75e9, 1);
  EXPECT_DOUBLE_EQ(rates.stream_bytes_per_second(1e12), 50e9);
}

TEST(CpuRates, AFormatThatWasNotMeasuredTakesTheNearest) {
  const CpuRates rates = example();
  EXPECT_EQ(rates.of("Q8_0").format, "Q8_0");
  EXPECT_EQ(rates.of("Q4_K").format, "Q4_0");
  EXPECT_EQ(rates.of("Q6_K").format, "Q8_0");
  EXPECT_EQ(rates.of("F16").format, "BF16");
  EXPECT_DOUBLE_EQ(rates.peak_flops(), 2e12);
}

TEST(CpuRates, SurviveJson) {
  const CpuRates rates = example();
  const CpuRates read = parse_cpu_rates(to_json(rates), "file").value();
  EXPECT_EQ(read.cpu, rates.cpu);
  EXPECT_EQ(read.threads, 2);
  EXPECT_TRUE(read.calibrated);
  EXPECT_EQ(read.stream.size(), 2u);
  EXPECT_DOUBLE_EQ(read.of("Q4_0").prompt_flops, 9e11);
  EXPECT_DOUBLE_EQ(read.element_seconds, 2e-10);
  EXPECT_DOUBLE_EQ(read.prompt_score_seconds, 3e-10);
  EXPECT_DOUBLE_EQ(read.generated_score_seconds, 4e-10);
  EXPECT_EQ(read.hertz, 0);
  EXPECT_EQ(to_json(read), to_json(rates));
  CpuRates timed = rates;
  timed.hertz = 3e9;
  EXPECT_DOUBLE_EQ(parse_cpu_rates(to_json(timed), "file")->hertz, 3e9);
}

// Its fractions were of another stream.
TEST(CpuRates, AnOlderVersionIsMeasuredAgain) {
  std::string text = to_json(example());
  const std::string version = "\"schema_version\": 2";
  const size_t at = text.find(version);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, version.size(), "\"schema_version\": 1");
  const auto result = parse_cpu_rates(text, "rates.json");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(
      result.error().message,
      "rates.json: schema_version 1, and this reads 2: `dunlin plan --calibrate` measures again");
}

// Files from before it was measured do not have it.
TEST(CpuRates, TheDiskMayBeMissing) {
  CpuRates rates = example();
  EXPECT_EQ(to_json(rates).find("disk"), std::string::npos);
  EXPECT_EQ(parse_cpu_rates(to_json(rates), "file")->disk_bytes_per_second, 0);
  rates.disk_bytes_per_second = 3e9;
  EXPECT_DOUBLE_EQ(parse_cpu_rates(to_json(rates), "file")->disk_bytes_per_second, 3e9);
  rates.disk_bytes_per_second = 1e-300;
  std::string text = to_json(rates);
  const size_t at = text.find("1e-300");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 6, "-1");
  const auto wrong = parse_cpu_rates(text, "rates.json");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message, HasSubstr("disk_bytes_per_second is missing or no positive"));
}

TEST(CpuRates, WrongJsonIsNamed) {
  const auto message = [](const std::string& text) {
    const auto result = parse_cpu_rates(text, "rates.json");
    EXPECT_FALSE(result.ok());
    return result.ok() ? "" : result.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("rates.json: not a JSON object"));
  EXPECT_THAT(message("{}"), HasSubstr("schema_version"));
  EXPECT_THAT(message(R"({"schema_version": 7})"), HasSubstr("schema_version 7"));
  std::string text = to_json(example());
  const size_t at = text.find("\"prompt_flops\"");
  EXPECT_THAT(message(text.substr(0, at) + "\"prompt\"" + text.substr(at + 14)),
              HasSubstr("prompt_flops is missing"));
  for (const std::string name :
       {"element_seconds", "prompt_score_seconds", "generated_score_seconds"}) {
    std::string without = to_json(example());
    without.replace(without.find("\"" + name), 2, "\"_");
    EXPECT_THAT(message(without), HasSubstr(name + " is missing"));
  }
}

TEST(TypicalRates, GrowWithTheProcessor) {
  const std::vector<StreamPoint> stream = {{1e8, 10e9}};
  const auto rates = [&](const char* isa, int threads, double hertz) {
    return typical_rates({.cpu = "x", .isa = isa, .threads = threads, .hertz = hertz}, stream);
  };
  const CpuRates one = rates("avx2", 1, 2e9);
  EXPECT_FALSE(one.calibrated);
  EXPECT_NEAR(rates("avx2", 4, 3e9).peak_flops(), 6 * one.peak_flops(), 1);
  EXPECT_GT(rates("avx512", 1, 2e9).peak_flops(), one.peak_flops());
  EXPECT_LT(rates("unknown", 1, 2e9).peak_flops(), one.peak_flops());
  EXPECT_GT(rates("neon", 1, 2e9).peak_flops(), rates("scalar", 1, 2e9).peak_flops());
  EXPECT_GT(rates("i8mm", 1, 2e9).peak_flops(), rates("dotprod", 1, 2e9).peak_flops());
  EXPECT_NEAR(rates("avx2", 4, 3e9).element_seconds, one.element_seconds / 6, 1e-18);
  EXPECT_LT(rates("avx512", 1, 2e9).element_seconds, one.element_seconds);
  EXPECT_TRUE(parse_cpu_rates(to_json(one), "typical").ok());
}

}  // namespace
}  // namespace dunlin

// What a sweep says of its numbers, and what it reads of another's.
#include "cli/sweep_report.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

SweepRow row(int64_t batch, int64_t tokens, double seconds) {
  return {.batch = batch,
          .tokens = tokens,
          .first_seconds = seconds + 0.5,
          .seconds = {seconds, seconds},
          .tokens_per_forward = 2};
}

Sweep two_sides() {
  Sweep sweep{.model = "model", .family = "dream", .prompt_tokens = 32, .answer_tokens = 64};
  sweep.sides.push_back({.name = "cpu auto",
                         .backend = "cpu",
                         .load_seconds = 1.25,
                         .rows = {row(1, 64, 1.0), row(2, 128, 1.25), row(4, 256, 4.0)},
                         .issues = {"batch 8 does not fit: too large"}});
  sweep.sides.push_back({.name = "other", .rows = {row(1, 64, 2.0), row(4, 256, 2.0)}});
  return sweep;
}

TEST(SweepReport, FindsTheBestBatch) {
  const Sweep sweep = two_sides();
  ASSERT_NE(sweep.sides[0].best(), nullptr);
  EXPECT_EQ(sweep.sides[0].best()->batch, 2);
  EXPECT_DOUBLE_EQ(sweep.sides[0].best()->tokens_per_second(), 102.4);
  EXPECT_EQ(sweep.sides[0].of(3), nullptr);
  EXPECT_EQ(SweepSide().best(), nullptr);
}

TEST(SweepReport, JsonHasSpeedUpsOfTheSameBatches) {
  const auto json = sweep_json(two_sides());
  EXPECT_EQ(json["results"][0]["optimal_batch"], 2);
  EXPECT_DOUBLE_EQ(json["results"][0]["single_token_ms"].get<double>(), 1000.0 / 64);
  ASSERT_EQ(json["speed_up"].size(), 2u);
  EXPECT_EQ(json["speed_up"][0]["batch"], 1);
  EXPECT_DOUBLE_EQ(json["speed_up"][0]["ratio"].get<double>(), 2.0);
  EXPECT_EQ(json["speed_up"][1]["batch"], 4);
  EXPECT_DOUBLE_EQ(json["speed_up"][1]["ratio"].get<double>(), 0.5);
}

TEST(SweepReport, SaysWhatHappened) {
  const std::string report = sweep_report(two_sides(), "chart.svg");
  EXPECT_THAT(report, HasSubstr("optimal batch 2, peak throughput 102.4 tokens per second"));
  EXPECT_THAT(report, HasSubstr("batch 4: cpu auto is 0.50 times as fast as other"));
  EXPECT_THAT(report, HasSubstr("- cpu auto: batch 8 does not fit: too large"));
  EXPECT_THAT(report, HasSubstr("](chart.svg)"));
  Sweep quiet = two_sides();
  quiet.sides[0].issues.clear();
  EXPECT_THAT(sweep_report(quiet, "chart.svg"), HasSubstr("## Issues\n\n- none\n"));
  const Chart chart = sweep_chart(two_sides());
  ASSERT_EQ(chart.upright.size(), 1u);
  EXPECT_EQ(chart.upright[0].value, 2.0);
  EXPECT_EQ(chart.series.size(), 2u);
}

class SweepFile : public testing::Test {
 protected:
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("sweep.json");
};

TEST_F(SweepFile, IsReadAsItWasWritten) {
  write(sweep_json(two_sides()).dump());
  const auto side = read_sweep_side(path_);
  ASSERT_TRUE(side.ok()) << side.error().message;
  ASSERT_EQ(side->rows.size(), 3u);
  EXPECT_EQ(side->best()->batch, 2);
  EXPECT_EQ(side->rows[2].seconds, (std::vector<double>{4.0, 4.0}));
  EXPECT_EQ(side->rows[2].tokens, 256);
  EXPECT_EQ(side->load_seconds, 1.25);
}

TEST_F(SweepFile, WrongOnesNameTheFileAndTheField) {
  const std::string good =
      R"({"batch":1,"tokens":8,"first_seconds":1,"tokens_per_forward":1,"samples_seconds":[1]})";
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"[]", ""},
      {"{}", "results"},
      {R"({"results":[]})", "results"},
      {R"({"results":[{"rows":[]}]})", "rows"},
      {R"({"results":[{"rows":[7]}]})", "row"},
      {R"({"results":[{"rows":[{"batch":0}]}]})", "batch"},
      {R"({"results":[{"rows":[{"batch":1,"tokens":"8"}]}]})", "tokens"},
      {R"({"results":[{"rows":[{"batch":1,"tokens":8,"first_seconds":1,"tokens_per_forward":1,)"
       R"("samples_seconds":[0]}]}]})",
       "samples_seconds"},
      {R"({"results":[{"rows":[)" + good + "," + good + "]}]}", "ascend"}};
  for (const auto& [text, field] : wrong) {
    write(text);
    const auto side = read_sweep_side(path_);
    ASSERT_FALSE(side.ok()) << text;
    EXPECT_EQ(side.error().kind, ErrorKind::usage) << text;
    EXPECT_THAT(side.error().message, HasSubstr(path_)) << text;
    EXPECT_THAT(side.error().message, HasSubstr(field)) << text;
  }
  std::filesystem::remove(path_);
  EXPECT_FALSE(read_sweep_side(path_).ok());
}

}  // namespace
}  // namespace dunlin

// The fit is the inverse of the roofline: from the times that the planner gives blocks it finds the rates that
// the planner had.
#include "planner/calibration_fit.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "planned.h"
#include "planner/roofline.h"

namespace dunlin {
namespace {

constexpr BlockSizes kWideBlock{1, 2048, 3072, 16, 4, 128};
constexpr BlockSizes kNarrowBlock{16, 512, 1536, 8, 2, 64};
constexpr BlockSizes kFewScores{2, 256, 256, 32, 8, 128};
constexpr BlockSizes kManyScores{2, 256, 256, 64, 16, 64};

CpuRates known_rates() {
  CpuRates rates;
  rates.stream = {{64e6, 30e9}, {256e6, 30e9}};
  rates.formats = {
      {"Q4_0", 0.9, 5e11, 2e11}, {"BF16", 1, 2e11, 2.2e11}, {"Q6_K", 0.7, 4e11, 1.9e11}};
  rates.kv_fraction = 0.5;
  rates.attention_flops = 1e11;
  rates.step_seconds = 2e-6;
  rates.element_seconds = 2e-10;
  rates.prompt_score_seconds = 3e-10;
  rates.generated_score_seconds = 5e-10;
  return rates;
}

// A block as the planner times it.
class PlannedBlock {
 public:
  PlannedBlock(const BlockSizes& sizes, const std::string& format, const CpuRates& rates)
      : sizes_(sizes), program_(record_block(sizes).value()), model_(planned(program_, format)) {
    device_.memory_bytes_per_second = 1;
    device_.bf16_flops = 1;
    device_.cpu = std::make_shared<const CpuRates>(rates);
  }
  PlannedBlock(const PlannedBlock&) = delete;
  PlannedBlock& operator=(const PlannedBlock&) = delete;

  StepTime time(int64_t rows, double cached, RowClass row_class) const {
    const StepShape step{.rows_each = rows, .cached = cached, .row_class = row_class};
    const ShardedModel whole = sharded(model_, {});
    return step_time(walk(whole, step), whole, device_, row_class);
  }
  double seconds(int64_t rows, double cached, RowClass row_class) const {
    return time(rows, cached, row_class).expected_seconds;
  }

  BlockTimes times() const {
    BlockTimes times;
    times.sizes = sizes_;
    // But for the row of the embedding.
    times.weight_bytes =
        time(1, 0, RowClass::generated).weight_bytes - 2 * static_cast<double>(sizes_.width);
    times.single = seconds(1, 0, RowClass::generated);
    times.generated = seconds(CalibrationBlock::kGeneratedRows, 0, RowClass::generated);
    times.prompt = seconds(CalibrationBlock::kPromptRows, 0, RowClass::prompt);
    return times;
  }

  AttentionTimes attention_times() const {
    AttentionTimes times;
    times.sizes = sizes_;
    times.positions = 4095;
    times.single_near = seconds(1, 0, RowClass::generated);
    times.single_far = seconds(1, 4095, RowClass::generated);
    times.prompt_positions = 512;
    times.prompt_near = seconds(CalibrationBlock::kPromptRows, 0, RowClass::prompt);
    times.prompt_far = seconds(CalibrationBlock::kPromptRows, 512, RowClass::prompt);
    return times;
  }

 private:
  BlockSizes sizes_;
  Program program_;
  PlannedModel model_;
  Device device_;
};

CalibrationTimes times_of(const CpuRates& rates) {
  CalibrationTimes times;
  times.narrow = PlannedBlock(kNarrowBlock, "Q4_0", rates).times();
  for (const char* format : {"Q4_0", "BF16", "Q6_K"})
    times.wide.emplace_back(format, PlannedBlock(kWideBlock, format, rates).times());
  times.few_scores = PlannedBlock(kFewScores, "Q8_0", rates).attention_times();
  times.many_scores = PlannedBlock(kManyScores, "Q8_0", rates).attention_times();
  return times;
}

TEST(CalibrationFit, BlocksAreWhatThePlannerCounts) {
  for (const BlockSizes& sizes : {kWideBlock, kNarrowBlock, kManyScores}) {
    const Program program = record_block(sizes).value();
    const PlannedModel model = planned(program);
    const StepShape step{.rows_each = 3, .cached = 4, .row_class = RowClass::prompt};
    double elements = 0, flops = 0, scores = 0, kv_bytes = 0;
    for (const NodeCost& cost : walk(sharded(model, {}), step)) {
      elements += cost.elements;
      flops += cost.flops;
      scores += cost.scores;
      kv_bytes += cost.kv_bytes;
    }
    const double pairs = 5 + 6 + 7;
    EXPECT_DOUBLE_EQ(elements, 3 * sizes.elements());
    EXPECT_DOUBLE_EQ(flops, 2 * 3 * sizes.weights() + 4 * sizes.queries() * pairs);
    EXPECT_DOUBLE_EQ(scores, sizes.scores() * pairs);
    EXPECT_DOUBLE_EQ(kv_bytes, 7 * sizes.kv_bytes());
  }
}

TEST(CalibrationFit, FindsTheRatesOfTheTimes) {
  const CpuRates known = known_rates();
  CpuRates found;
  found.stream = known.stream;
  fit_rates(times_of(known), known, found);
  const auto expect_near = [](double value, double wanted) {
    EXPECT_NEAR(value / wanted, 1, 0.01) << value << " and " << wanted;
  };
  expect_near(found.kv_fraction, known.kv_fraction);
  expect_near(found.generated_score_seconds, known.generated_score_seconds);
  expect_near(found.attention_flops, known.attention_flops);
  expect_near(found.prompt_score_seconds, known.prompt_score_seconds);
  expect_near(found.step_seconds, known.step_seconds);
  expect_near(found.element_seconds, known.element_seconds);
  ASSERT_EQ(found.formats.size(), known.formats.size());
  for (size_t i = 0; i < known.formats.size(); ++i) {
    EXPECT_EQ(found.formats[i].format, known.formats[i].format);
    expect_near(found.formats[i].decode_fraction, known.formats[i].decode_fraction);
    expect_near(found.formats[i].generated_flops, known.formats[i].generated_flops);
    expect_near(found.formats[i].prompt_flops, known.formats[i].prompt_flops);
  }
  EXPECT_NEAR(found.stream_bytes_per_second(1e8) / 30e9, 1, 0.01);
}

// A stream that was measured too low makes no fraction above 1: a step would take longer at best than is
// expected of it.
TEST(CalibrationFit, TheFastestReaderIsTheStream) {
  const CpuRates known = known_rates();
  CpuRates found;
  found.stream = {{64e6, 15e9}, {256e6, 15e9}};
  fit_rates(times_of(known), known, found);
  EXPECT_NEAR(found.stream_bytes_per_second(1e8) / 30e9, 1, 0.01);
  EXPECT_NEAR(found.of("BF16").decode_fraction, 1, 1e-12);
  EXPECT_NEAR(found.of("Q4_0").decode_fraction, 0.9, 0.01);
  EXPECT_NEAR(found.kv_fraction, 0.5, 0.01);
}

TEST(CalibrationFit, NoiseLeavesRatesNearTypicalOnes) {
  CalibrationTimes times = times_of(known_rates());
  times.narrow.single = times.wide.front().second.single / 100;
  times.narrow.prompt = times.wide.front().second.prompt / 100;
  times.few_scores.single_far = times.few_scores.single_near / 2;
  times.many_scores.prompt_far = times.few_scores.prompt_near / 2;
  CpuRates found;
  found.stream = known_rates().stream;
  const CpuRates typical = known_rates();
  fit_rates(times, typical, found);
  found.cpu = "x";
  found.isa = "y";
  found.threads = 1;
  const auto read = parse_cpu_rates(to_json(found), "rates");
  EXPECT_TRUE(read.ok()) << read.error().message;
  for (const FormatRates& row : found.formats) EXPECT_LE(row.decode_fraction, 1) << row.format;
  EXPECT_LE(found.kv_fraction, 1);
  EXPECT_LE(found.step_seconds, 4 * typical.step_seconds * (1 + 1e-12));
  EXPECT_LE(found.element_seconds, 4 * typical.element_seconds * (1 + 1e-12));
  EXPECT_GE(found.attention_flops, typical.attention_flops / 4 * (1 - 1e-12));
  EXPECT_LE(found.attention_flops, typical.attention_flops * 4 * (1 + 1e-12));
}

TEST(CalibrationFit, TwoBlocksTellBothCosts) {
  const WorkCosts costs = work_costs({2 * 10 + 3 * 4, 10, 4}, {2 * 100 + 3 * 5, 100, 5}, {1, 12});
  EXPECT_DOUBLE_EQ(costs.work, 2);
  EXPECT_DOUBLE_EQ(costs.beside, 3);
  EXPECT_DOUBLE_EQ(work_cost({2 * 10 + 3 * 4, 10, 4}, 3), 2);
  // Nine tenths at most are beside the work.
  const WorkCosts bounded = work_costs({1000, 1, 10}, {1, 1, 1}, {0.1, 1000});
  EXPECT_DOUBLE_EQ(bounded.beside, 0.9);
  EXPECT_DOUBLE_EQ(bounded.work, 0.1);
  EXPECT_DOUBLE_EQ(work_cost({1, 1, 1}, 5), 0.1);
  // And what the range allows.
  const WorkCosts dearer = work_costs({2 * 10 + 3 * 4, 10, 4}, {2 * 100 + 3 * 5, 100, 5}, {4, 16});
  EXPECT_DOUBLE_EQ(dearer.beside, 4);
  EXPECT_DOUBLE_EQ(dearer.work, (2 * 100 + 3 * 5 - 4 * 5) / 100.0);
}

}  // namespace
}  // namespace dunlin

#include "planner/calibration_fit.h"

#include <algorithm>

#include "base/check.h"

namespace dunlin {

namespace {

constexpr double kLeastCost = 1e-15;    // seconds: rates are positive numbers
constexpr double kLeastSeconds = 1e-9;  // of a difference of two times
constexpr double kMostBeside = 0.9;     // of a time
// What is found as the difference of two times may be off by many times its size on a busy machine: it stays
// within so many times what is typical.
constexpr double kFromTypical = 4;

CostRange around(double typical) {
  return {typical / kFromTypical, typical * kFromTypical};
}

class RateFit {
 public:
  RateFit(const CalibrationTimes& times, const CpuRates& typical, CpuRates& rates)
      : times_(times), typical_(typical), rates_(rates) {}

  // The time of a row's steps has that of its elements in it, and that of a prompt's elements that of its
  // steps, of which it is a small part: a few turns make both exact.
  void run() {
    DUNLIN_CHECK(!times_.wide.empty(), "a calibration without formats");
    fit_attention();
    rates_.element_seconds = 0;
    fit_steps();
    for (int turn = 0; turn < 4; ++turn) {
      fit_elements();
      fit_steps();
    }
    fit_formats();
    raise_stream();
  }

 private:
  double joint_stream() const { return rates_.stream_bytes_per_second(times_.joint_bytes()); }

  static TimedWork reads_of(const AttentionTimes& times) {
    return {std::max(times.single_far - times.single_near, kLeastSeconds),
            times.sizes.kv_bytes() * times.positions, times.sizes.scores() * times.positions};
  }
  static TimedWork products_of(const AttentionTimes& times) {
    const double pairs =
        static_cast<double>(CalibrationBlock::kPromptRows) * times.prompt_positions;
    return {std::max(times.prompt_far - times.prompt_near, kLeastSeconds),
            4 * times.sizes.queries() * pairs, times.sizes.scores() * pairs};
  }

  void fit_attention() {
    const WorkCosts read = work_costs(reads_of(times_.many_scores), reads_of(times_.few_scores),
                                      around(typical_.generated_score_seconds));
    rates_.kv_fraction = 1 / read.work / joint_stream();
    rates_.generated_score_seconds = read.beside;
    const WorkCosts products =
        work_costs(products_of(times_.many_scores), products_of(times_.few_scores),
                   around(typical_.prompt_score_seconds));
    const CostRange flops = around(typical_.attention_flops);
    rates_.attention_flops = std::clamp(1 / products.work, flops.least, flops.most);
    rates_.prompt_score_seconds = products.beside;
  }

  // One row: bytes of weights, and steps.
  TimedWork single_row(const BlockTimes& times) const {
    const double elements = times.sizes.elements() * rates_.element_seconds;
    return {std::max(times.single - elements, times.single / 2), times.weight_bytes,
            times.sizes.steps()};
  }

  void fit_steps() {
    const WorkCosts costs =
        work_costs(single_row(times_.narrow), single_row(times_.wide.front().second),
                   around(typical_.step_seconds));
    rates_.step_seconds = costs.beside;
  }

  // Many rows without attention and steps: multiplications, and elements.
  TimedWork many_rows(const BlockSizes& sizes, double seconds, int64_t rows) const {
    const auto count = static_cast<double>(rows);
    const double pairs = count * (count + 1) / 2;  // of a row and a position that it sees
    const double attention = 4 * sizes.queries() * pairs / rates_.attention_flops +
                             sizes.scores() * pairs * rates_.prompt_score_seconds;
    const double others = attention + sizes.steps() * rates_.step_seconds;
    return {std::max(seconds - others, seconds / 2), 2 * sizes.weights() * count,
            sizes.elements() * count};
  }
  TimedWork prompt_rows(const BlockTimes& times) const {
    return many_rows(times.sizes, times.prompt, CalibrationBlock::kPromptRows);
  }

  void fit_elements() {
    const WorkCosts costs =
        work_costs(prompt_rows(times_.narrow), prompt_rows(times_.wide.front().second),
                   around(typical_.element_seconds));
    rates_.element_seconds = costs.beside;
  }

  void fit_formats() {
    rates_.formats.clear();
    for (const auto& [format, times] : times_.wide) {
      FormatRates row;
      row.format = format;
      const double read = work_cost(single_row(times), rates_.step_seconds);
      row.decode_fraction = 1 / read / joint_stream();
      const TimedWork generated =
          many_rows(times.sizes, times.generated, CalibrationBlock::kGeneratedRows);
      row.generated_flops = 1 / work_cost(generated, rates_.element_seconds);
      row.prompt_flops = 1 / work_cost(prompt_rows(times), rates_.element_seconds);
      rates_.formats.push_back(row);
    }
  }

  // By weights alone: the time of keys and values is a difference, which noise can make very small.
  void raise_stream() {
    double fastest = 1;
    for (const FormatRates& row : rates_.formats) fastest = std::max(fastest, row.decode_fraction);
    for (StreamPoint& point : rates_.stream) point.bytes_per_second *= fastest;
    for (FormatRates& row : rates_.formats) row.decode_fraction /= fastest;
    rates_.kv_fraction = std::min(1.0, rates_.kv_fraction / fastest);
  }

  const CalibrationTimes& times_;
  const CpuRates& typical_;
  CpuRates& rates_;
};

}  // namespace

double CalibrationTimes::joint_bytes() const {
  double bytes = narrow.weight_bytes;
  for (const auto& [format, times] : wide) bytes += times.weight_bytes;
  for (const AttentionTimes* times : {&few_scores, &many_scores})
    bytes += times->sizes.kv_bytes() * times->positions;
  return bytes;
}

void fit_rates(const CalibrationTimes& times, const CpuRates& typical, CpuRates& rates) {
  RateFit(times, typical, rates).run();
}

WorkCosts work_costs(const TimedWork& more, const TimedWork& less, const CostRange& range) {
  const double apart = less.work * more.beside - more.work * less.beside;
  DUNLIN_CHECK(apart > 0, "two blocks that do not differ");
  const double solved = (more.seconds * less.work - less.seconds * more.work) / apart;
  const double most =
      kMostBeside * std::min(more.seconds / more.beside, less.seconds / less.beside);
  const double beside =
      std::max(kLeastCost, std::min(std::clamp(solved, range.least, range.most), most));
  return {work_cost(less, beside), beside};
}

double work_cost(const TimedWork& timed, double beside) {
  const double least = (1 - kMostBeside) * timed.seconds;
  return std::max({timed.seconds - beside * timed.beside, least, kLeastCost}) / timed.work;
}

}  // namespace dunlin

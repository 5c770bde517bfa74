// Blocks that take turns, so that what disturbs the machine for a while disturbs all, and so that each finds
// the caches as a model of their joint size leaves them.
#include "planner/calibrate.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/calibration_block.h"
#include "planner/calibration_fit.h"

namespace dunlin {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kPromptRows = CalibrationBlock::kPromptRows;
constexpr int64_t kGeneratedRows = CalibrationBlock::kGeneratedRows;
constexpr int64_t kMegabyte = 1 << 20;
constexpr int64_t kStreams[] = {64 * kMegabyte, 256 * kMegabyte, 1024 * kMegabyte};

// The first is that of the narrow block: four bits are what most models are kept in.
constexpr std::array kFormats = {Format::q4_0, Format::bf16, Format::q8_0,
                                 Format::q4_k, Format::q6_k, Format::f32};

// A layer of 29 million weights, 17 MB in four bits and 117 in float32, 265 MB in all formats: more than
// caches hold for a machine of their own, and with 30 GFLOP a prompt that is soon computed.
constexpr BlockSizes kWide{1, 2048, 3072, 16, 4, 128};
// As narrow as the smallest models, with as many steps as half of one has.
constexpr BlockSizes kNarrow{16, 512, 1536, 8, 2, 64};
// 34 MB of keys and values each. The second has twice the heads of half the width.
constexpr int64_t kContext = 4096;
constexpr BlockSizes kFewScores{2, 256, 256, 32, 8, 128};
constexpr BlockSizes kManyScores{2, 256, 256, 64, 16, 64};

using Samples = std::vector<double>;

double median(Samples samples) {
  std::ranges::sort(samples);
  return samples[samples.size() / 2];
}

// Workers of a block wait in a loop for a while after its step (base/thread_pool.h, 20 to 80 microseconds),
// on the processors of the next one.
void let_workers_sleep() {
  const auto start = Clock::now();
  while (Clock::now() - start < std::chrono::microseconds(200)) {
  }
}

struct TimedBlock {
  BlockSizes sizes;
  CalibrationBlock block;
  Samples single = {};
  Samples generated = {};
  Samples prompt = {};

  BlockTimes times() const {
    BlockTimes times;
    times.sizes = sizes;
    times.weight_bytes = block.weight_bytes();
    times.single = median(single);
    times.generated = generated.empty() ? 0 : median(generated);
    times.prompt = median(prompt);
    return times;
  }
};

struct TimedAttention {
  BlockSizes sizes;
  CalibrationBlock block;
  Samples single_near = {};
  Samples single_far = {};
  Samples prompt_near = {};
  Samples prompt_far = {};

  AttentionTimes times() const {
    AttentionTimes times;
    times.sizes = sizes;
    times.positions = static_cast<double>(kContext - 1);
    times.single_near = median(single_near);
    times.single_far = median(single_far);
    times.prompt_positions = static_cast<double>(kPromptRows);
    times.prompt_near = median(prompt_near);
    times.prompt_far = median(prompt_far);
    return times;
  }
};

class Calibration {
 public:
  Calibration(Backend& backend, const CalibrationOptions& options)
      : backend_(backend), options_(options) {}

  // The stream first and last, when there is no block or a small one: its largest size is more than all.
  Result<CpuRates> run() {
    report(0, "a narrow block");
    DUNLIN_RETURN_IF_ERROR(make_narrow_block());
    DUNLIN_RETURN_IF_ERROR(measure_stream());
    DUNLIN_RETURN_IF_ERROR(make_blocks());
    time_single_rows();
    time_many_rows();
    const CalibrationTimes times = take_times();
    measure_stream_again();
    fit_rates(times, typical(), rates_);
    report(1, "");
    return std::move(rates_);
  }

 private:
  void report(double fraction, const std::string& what) const {
    if (options_.progress) options_.progress(fraction, what);
  }

  Result<CalibrationBlock> make(const BlockSizes& sizes, Format format, int64_t context) {
    return CalibrationBlock::create(backend_, sizes, format, context, options_.threads);
  }

  Result<void> make_narrow_block() {
    DUNLIN_ASSIGN_OR_RETURN(CalibrationBlock block, make(kNarrow, kFormats.front(), kPromptRows));
    rates_.cpu = options_.cpu;
    rates_.calibrated = true;
    rates_.threads = block.executable().threads();
    rates_.isa = block.executable().isa();
    rates_.hertz = options_.hertz;
    narrow_.emplace(TimedBlock{kNarrow, std::move(block)});
    return {};
  }

  Result<double> stream_of(int64_t bytes) const {
    return options_.stream(rates_.threads, static_cast<uint64_t>(bytes), options_.seconds / 60);
  }

  Result<void> measure_stream() {
    report(0.02, "reading memory");
    for (const int64_t bytes : kStreams) {
      const auto measured = stream_of(bytes);
      // The largest may be more than there is; the smaller ones say enough.
      if (!measured.ok() && !rates_.stream.empty()) return {};
      DUNLIN_ASSIGN_OR_RETURN(const double bytes_per_second, measured);
      rates_.stream.push_back({static_cast<double>(bytes), bytes_per_second});
    }
    return {};
  }

  // The mean of before and after: the blocks were timed in between.
  void measure_stream_again() {
    report(0.93, "reading memory");
    for (StreamPoint& point : rates_.stream) {
      const auto measured = stream_of(static_cast<int64_t>(point.bytes));
      if (measured.ok()) point.bytes_per_second = (point.bytes_per_second + *measured) / 2;
    }
  }

  Result<void> make_blocks() {
    for (const Format format : kFormats) {
      report(0.1 + 0.02 * static_cast<double>(wide_.size()), traits(format).name);
      DUNLIN_ASSIGN_OR_RETURN(CalibrationBlock block, make(kWide, format, kPromptRows));
      wide_.push_back({kWide, std::move(block)});
    }
    for (const BlockSizes& sizes : {kFewScores, kManyScores}) {
      report(0.24, "a long cache");
      DUNLIN_ASSIGN_OR_RETURN(CalibrationBlock block, make(sizes, Format::q8_0, kContext));
      block.fill();
      attention_.push_back({sizes, std::move(block)});
    }
    return {};
  }

  static double one_row(CalibrationBlock& block, int64_t cached) {
    let_workers_sleep();
    return block.step(1, cached, RowClass::generated);
  }

  // Three rounds at least, as the first pays for what it touches first.
  void time_single_rows() {
    report(0.3, "single rows");
    const auto start = Clock::now();
    for (int round = 0; round < 3 || seconds_since(start) < 0.1 * options_.seconds; ++round) {
      narrow_->single.push_back(one_row(narrow_->block, 0));
      for (TimedBlock& each : wide_) each.single.push_back(one_row(each.block, 0));
      for (TimedAttention& each : attention_) {
        // Both find the weights, 6 MB, in the caches: the difference is what the positions cost.
        one_row(each.block, 0);
        each.single_near.push_back(each.block.step(1, 0, RowClass::generated));
        each.single_far.push_back(each.block.step(1, kContext - 1, RowClass::generated));
      }
    }
  }

  // Rounds until 0.85 of all the time is spent, and one at least.
  void time_many_rows() {
    double spent = 0;
    do {
      report(0.4 + 0.5 * std::min(1.0, spent), "prompts");
      for (TimedBlock& each : wide_) {
        let_workers_sleep();
        each.generated.push_back(each.block.step(kGeneratedRows, 0, RowClass::generated));
        each.prompt.push_back(each.block.step(kPromptRows, 0, RowClass::prompt));
      }
      let_workers_sleep();
      narrow_->prompt.push_back(narrow_->block.step(kPromptRows, 0, RowClass::prompt));
      for (TimedAttention& each : attention_) {
        let_workers_sleep();
        each.prompt_near.push_back(each.block.step(kPromptRows, 0, RowClass::prompt));
        each.prompt_far.push_back(each.block.step(kPromptRows, kPromptRows, RowClass::prompt));
      }
      spent = seconds_since(started_) / (0.85 * options_.seconds);
    } while (spent < 1);
  }

  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  CpuRates typical() const {
    return typical_rates(
        {.cpu = rates_.cpu, .isa = rates_.isa, .threads = rates_.threads, .hertz = options_.hertz},
        rates_.stream);
  }

  // And gives the blocks' memory back.
  CalibrationTimes take_times() {
    CalibrationTimes times;
    times.narrow = narrow_->times();
    for (size_t i = 0; i < wide_.size(); ++i)
      times.wide.emplace_back(traits(kFormats[i]).name, wide_[i].times());
    times.few_scores = attention_.front().times();
    times.many_scores = attention_.back().times();
    narrow_.reset();
    wide_.clear();
    attention_.clear();
    return times;
  }

  Backend& backend_;
  const CalibrationOptions& options_;
  const Clock::time_point started_ = Clock::now();
  CpuRates rates_;
  std::optional<TimedBlock> narrow_;
  std::vector<TimedBlock> wide_;  // by kFormats
  std::vector<TimedAttention> attention_;
};

}  // namespace

Result<CpuRates> calibrate(Backend& backend, const CalibrationOptions& options) {
  return Calibration(backend, options).run();
}

}  // namespace dunlin

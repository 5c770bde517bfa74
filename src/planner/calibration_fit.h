// From times of blocks to the rates that the planner computes with: the inverse of planner/roofline.h. Two
// blocks that differ in one thing tell what that costs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planner/calibration_block.h"
#include "planner/cpu_rates.h"

namespace dunlin {

// Of one block, in seconds.
struct BlockTimes {
  BlockSizes sizes;
  double weight_bytes = 0;
  double single = 0;     // a step of one generated row, with nothing cached
  double generated = 0;  // of CalibrationBlock::kGeneratedRows
  double prompt = 0;     // of CalibrationBlock::kPromptRows
};

// Of one whose cache outweighs its weights.
struct AttentionTimes {
  BlockSizes sizes;
  double positions = 0;  // by which the second of each pair sees more than the first
  double single_near = 0, single_far = 0;
  double prompt_positions = 0;
  double prompt_near = 0, prompt_far = 0;
};

struct CalibrationTimes {
  // Of the first format of `wide`: more steps and more elements to its bytes and multiplications. It has no
  // time of `generated`.
  BlockTimes narrow;
  std::vector<std::pair<std::string, BlockTimes>> wide;  // by format
  // The same multiplications and bytes, with more scores in the second.
  AttentionTimes few_scores;
  AttentionTimes many_scores;

  // Bytes that the blocks read between one step of a block and its next, when they take turns.
  double joint_bytes() const;
};

// Fills all rates but `stream`, which is there: fractions are of what it gives at joint_bytes(). Where a
// block read faster than that, the stream is raised to it, so that no fraction is above 1. What is beside
// multiplications and bytes is a small difference of times: it stays within four times what is `typical`.
void fit_rates(const CalibrationTimes& times, const CpuRates& typical, CpuRates& rates);

// A time that is taken to be `work` times one cost and `beside` times another.
struct TimedWork {
  double seconds = 0;
  double work = 0;
  double beside = 0;
};
struct CostRange {  // seconds of one
  double least = 0;
  double most = 0;
};
struct WorkCosts {  // seconds of one
  double work = 0;
  double beside = 0;
};

// `more` has more beside its work than `less`. What is beside costs what `range` allows, and takes nine tenths
// of either at most.
WorkCosts work_costs(const TimedWork& more, const TimedWork& less, const CostRange& range);
// Of the work alone, with the other cost known; a tenth of the time at least.
double work_cost(const TimedWork& timed, double beside);

}  // namespace dunlin

// Launch: one execution of a program, with the rows of a step that it computes.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/bucket.h"

namespace dunlin::pjrt {

struct Launch {
  Bucket bucket = {};
  // What each row, logit row and sequence of the bucket is in the step; -1: padding.
  std::vector<int32_t> rows = {};
  std::vector<int32_t> logit_rows = {};
  std::vector<int32_t> sequences = {};
};

// Splits steps into launches.
class LaunchPlanner {
 public:
  LaunchPlanner(const Program& program, const StepLimits& limits, bool row_wise);

  // Pages that a slot has in a group: what `limits` can need at once.
  int64_t pages_per_slot(int32_t group) const;

  // Sequences of one row are computed together, row i for slot i; each other sequence on its own. A
  // Program that is not row-wise gets one launch of exactly the step's sizes.
  std::vector<Launch> split(const StepPlan& plan, const std::vector<KvGroupShape>& groups) const;

  // Every bucket that split() needs for steps in which a sequence has one row, or a part of its
  // prompt of which the logits of the last row are wanted: what an engine serves with. Others
  // (rows that skip positions, logits of many rows of a prompt) are met when they come. Only for a
  // Program that is row-wise.
  std::vector<Bucket> buckets(const std::vector<KvGroupShape>& groups) const;

  // The contents of the step array of a launch (StepLayout).
  std::vector<int32_t> step_array(const StepPlan& plan, const Launch& launch) const;

 private:
  struct Sequence {  // of a step
    int32_t first_row = 0;
    int32_t rows = 0;
    int32_t slot = 0;
    int32_t length = 0;
    bool consecutive = true;
  };
  std::vector<Sequence> sequences_of(const StepPlan& plan,
                                     const std::vector<KvGroupShape>& groups) const;
  Launch exact(const StepPlan& plan, const std::vector<Sequence>& sequences) const;
  Launch decode(const StepPlan& plan, const std::vector<Sequence>& sequences) const;
  Launch prompt(const StepPlan& plan, const std::vector<Sequence>& sequences, size_t index) const;
  void add_logit_rows(const StepPlan& plan, int64_t least, Launch& launch) const;
  int64_t kv_length(int64_t longest) const;

  const Program& program_;
  StepLimits limits_;
  bool row_wise_;
};

}  // namespace dunlin::pjrt

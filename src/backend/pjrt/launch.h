// Launch: one execution of a program, with the rows of a step that it computes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/bucket.h"

namespace dunlin::pjrt {

struct Launch {
  Bucket bucket = {};  // of each part of the batch
  // What each row, logit row and sequence of the bucket is in the step; -1: padding. Of the parts of
  // the batch one after the other.
  std::vector<int32_t> rows = {};
  std::vector<int32_t> logit_rows = {};
  std::vector<int32_t> sequences = {};

  // Of one of those lists what one part has, of `each`.
  static std::span<const int32_t> of_part(const std::vector<int32_t>& list, int64_t each,
                                          int64_t part) {
    return std::span(list).subspan(static_cast<size_t>(part * each), static_cast<size_t>(each));
  }
};

// Splits steps into launches. Devices that share no sequence compute parts of the batch: the
// sequence in slot s belongs to part s mod parts, where it is in slot s / parts.
class LaunchPlanner {
 public:
  // `steps`: the most of a loop. More than one, or more than one part: only of a Program that is
  // row-wise.
  LaunchPlanner(const Program& program, const StepLimits& limits, bool row_wise, int64_t parts = 1,
                int64_t steps = 1);

  int64_t parts() const { return parts_; }
  // Slots of one part, for so many in all.
  int64_t slots_of_part(int64_t slots) const { return (slots + parts_ - 1) / parts_; }

  // Pages that a slot has in a group: what `limits` can need at once.
  int64_t pages_per_slot(int32_t group) const;

  // Sequences of one row are computed together, row i for slot i; each other sequence on its own, or
  // beside one of each other part. A Program that is not row-wise gets one launch of exactly the
  // step's sizes. A loop of any number of steps is a launch of the one bucket of loops that its sizes
  // have. `groups` are those of a part.
  std::vector<Launch> split(const StepPlan& plan, const std::vector<KvGroupShape>& groups) const;

  // A sequence of a step, and what is its own in its slot.
  struct Holding {
    int32_t slot = 0;       // of all parts
    int32_t first_row = 0;  // in the step
    int32_t rows = 0;
    int32_t first = 0;  // position of the first row
    int32_t length =
        0;  // positions it has after the step's writes; of a loop after the first step's
    int32_t longest = 0;  // after the last step of a loop
  };
  // `groups` as above, at least one.
  std::vector<Holding> holdings(const StepPlan& plan,
                                const std::vector<KvGroupShape>& groups) const;

  // Every bucket that split() needs for steps in which a sequence has one row, or a part of its
  // prompt of which the logits of the last row are wanted, and for loops: what an engine serves
  // with. Others (rows that skip positions, logits of many rows of a prompt) are met when they come.
  // Only for a Program that is row-wise.
  std::vector<Bucket> buckets(const std::vector<KvGroupShape>& groups) const;

  // The contents of the step array of a launch (StepLayout), for one part of the batch. Logit rows that
  // are padding are the last row of a sequence that is alone in the launch.
  std::vector<int32_t> step_array(const StepPlan& plan, const Launch& launch,
                                  int64_t part = 0) const;

 private:
  struct Sequence {  // of a step
    int32_t first_row = 0;
    int32_t rows = 0;
    int32_t part = 0;  // of the batch
    int32_t slot = 0;  // in its part
    int32_t length = 0;
    int32_t longest = 0;  // length in the last step of a loop
    bool consecutive = true;
  };
  std::vector<Sequence> sequences_of(const StepPlan& plan,
                                     const std::vector<KvGroupShape>& groups) const;
  Launch exact(const StepPlan& plan, const std::vector<Sequence>& sequences) const;
  Launch decode(const StepPlan& plan, const std::vector<Sequence>& sequences) const;
  // `members`: of each part the sequence that it computes, or -1.
  Launch prompts(const StepPlan& plan, const std::vector<Sequence>& sequences,
                 const std::vector<int32_t>& members) const;
  std::vector<Launch> all_prompts(const StepPlan& plan,
                                  const std::vector<Sequence>& sequences) const;
  void add_logit_rows(const StepPlan& plan, int64_t least, Launch& launch) const;
  int64_t kv_length(int64_t longest) const;

  const Program& program_;
  StepLimits limits_;
  bool row_wise_;
  int64_t parts_;
  int64_t steps_;  // of a loop, at most
};

}  // namespace dunlin::pjrt

// PlanBuilder: the StepPlan of one step, from the rows of its sequences. All memory is taken at
// construction.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/api.h"
#include "cache/kv_cache.h"
#include "program/program.h"
#include "step/step.h"

namespace dunlin {

enum class LogitRows : uint8_t { none, last, all };

class PlanBuilder {
 public:
  PlanBuilder(const Program& program, const StepLimits& limits);

  void begin();
  // The next sequence: these tokens at the positions from `first` on.
  void add(int32_t slot, std::span<const int32_t> tokens, int64_t first, RowClass row_class,
           LogitRows logit_rows);
  // Makes the step a loop (StepPlan::steps): the sequence that was added last, with one row and its
  // logits, takes up to `steps` of it and ends at one of its stop ids, of which as many are looked for
  // as there is room for. Of every sequence of a step or of none.
  void repeat(int64_t steps, std::span<const int32_t> stop_ids);
  // The next canvas, which holds `length` positions: these tokens at the positions from `first` on,
  // and the logits of the rows `logit_rows`, counted from the first token. Not in one step with
  // add().
  void add_canvas(int32_t slot, std::span<const int32_t> tokens, int64_t first, int64_t length,
                  RowClass row_class, std::span<const int32_t> logit_rows);
  // Nobody reads whole rows of the step's logits (StepPlan::whole_rows).
  void leave_out_whole_rows() { plan_.whole_rows = false; }
  // The plan of what was added, with the cache's tables and moves; valid until begin().
  const StepPlan& finish(KvCache& cache);

 private:
  void add_rows(int32_t slot, std::span<const int32_t> tokens, int64_t first, RowClass row_class);

  StepPlan plan_ = {};
  std::vector<int32_t> slots_ = {};
};

}  // namespace dunlin

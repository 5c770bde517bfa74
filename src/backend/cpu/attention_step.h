// The step of `attention` over the KV cache, with the rotation of q and k where that is fused.
//
// Work is cut into units: some rows of one sequence and the query heads of one kv head. A unit runs
// in one piece, or, where units are fewer than the threads could use, split by split of 256
// positions: the worker that ends a unit's last split merges them. Which of the two changes no bit
// (docs/decisions/0002-numerics.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cpu/attention_rows.h"
#include "backend/cpu/bound_step.h"

namespace dunlin::cpu {

class AttentionStep final : public BoundStep {
 public:
  explicit AttentionStep(AttentionSettings settings);
  void run(const RunContext& context) noexcept override;
  std::optional<StepWork> work(const RunContext& context) const noexcept override {
    return attention_work(settings_, context);
  }
  int64_t scratch_bytes() const override;
  int64_t workspace_bytes() const override {
    return attention_workspace_bytes(settings_.kv_type, settings_.head_dim);
  }
  bool is_attention() const override { return true; }
  std::vector<std::pair<std::string, std::string>> kernels() const override;

 private:
  struct Unit {
    int64_t sequence;
    int64_t row_begin;  // of the step
    int64_t row_end;
    int64_t kv_head;
    SplitRange splits;
    int64_t partials;  // first of its partial results, or -1: runs in one piece
  };
  struct Task {
    int32_t unit;
    int32_t split;  // -1: all
  };

  void plan(const RunContext& context) noexcept;
  void plan_sequence(const RunContext& context, int64_t sequence, int64_t units) noexcept;
  void add_tasks(Unit unit) noexcept;
  void write_rows(const RunContext& context) noexcept;
  void run_task(const RunContext& context, const Task& task, int worker) noexcept;
  void merge(const RunContext& context, const Unit& unit) const noexcept;
  AttentionArgs arguments(const RunContext& context, const Unit& unit) const noexcept;
  float* partial(const RunContext& context, const Unit& unit, int64_t split) const noexcept;

  AttentionSettings settings_;
  int64_t group_;             // query heads of a kv head
  int64_t partial_stride_;    // floats
  int64_t partials_limit_;    // partial results that the scratch holds
  int64_t partials_ = 0;      // of this step
  int64_t work_ = 0;          // of this step, in multiplications
  bool units_write_ = false;  // each unit rotates and writes its own rows and kv head
  std::vector<Unit> units_;
  std::vector<Task> tasks_;
  std::unique_ptr<std::atomic<int32_t>[]> unfinished_;  // splits, by unit
};

}  // namespace dunlin::cpu

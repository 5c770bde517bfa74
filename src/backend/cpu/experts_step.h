// The step of `experts`: rows in groups of one expert and row class, each group through the kernels of
// `linear`, then the weighted sum of each row's experts.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/bound_step.h"
#include "backend/cpu/expert_groups.h"
#include "backend/cpu/kernels/kernels.h"

namespace dunlin::cpu {

// A stack of matrices of one shape and format, one for each expert.
struct ExpertMatrices {
  PackedMatrix first;
  int64_t count = 0;
  const float* bias = nullptr;       // [count, rows]; null: none
  Arithmetic arithmetic[2];          // by RowClass
  Kernel<LinearFunction> kernel[2];  // by RowClass

  PackedMatrix matrix(int64_t expert) const {
    return {first.layout, first.data + expert * first.layout.bytes()};
  }
};

struct ExpertsSettings {
  ExpertMatrices gate, up, down;    // [E, F, D], [E, F, D], [E, D, F]
  const float* x = nullptr;         // [T, D]
  const int32_t* chosen = nullptr;  // [T, per_row]
  const float* weights = nullptr;   // [T, per_row]
  float* y = nullptr;               // [T, D]
  float* hidden = nullptr;          // [T, per_row, F]: what down multiplies; null: not wanted
  int64_t per_row = 0;
  Kernel<PrepareFunction> prepare[kArithmetics];  // by Arithmetic
  Kernel<GatedFunction> gated;
  float alpha = 0;
  float limit = 0;
  Kernel<AddScaledFunction> add_scaled;
  int64_t prefetch_bytes = kPrefetchBytes;  // of `linear`
  StepLimits limits;
  bool grouped = true;
};

class ExpertsStep final : public BoundStep {
 public:
  explicit ExpertsStep(ExpertsSettings settings);
  void run(const RunContext& context) noexcept override;
  std::optional<StepWork> work(const RunContext& context) const noexcept override;
  int64_t scratch_bytes() const override { return scratch_bytes_; }
  int64_t workspace_bytes() const override { return kLinearWorkspaceBytes; }
  std::vector<std::pair<std::string, std::string>> kernels() const override;

 private:
  // Groups [begin, end) that share the memory of a round, whose places begin at `first`.
  struct Round {
    size_t begin, end;
    int64_t first, places;
  };
  // Prepared activations of a group, by arithmetic.
  struct Activations {
    std::byte* of[kArithmetics];
  };

  void plan_scratch();
  void run_round(const Round& round, const RunContext& context) noexcept;
  // Places the activations of the round's groups that `matrices` read, `columns` wide.
  void place_activations(const Round& round, int64_t columns, std::byte* memory, int64_t bytes,
                         std::initializer_list<const ExpertMatrices*> matrices) noexcept;
  void prepare_inputs(const Round& round, const RunContext& context) noexcept;
  void prepare_hidden(const Round& round, const RunContext& context) noexcept;
  void prepare_row(int64_t place, const float* x, int64_t columns) const noexcept;
  void run_gated(const Round& round, const RunContext& context) const noexcept;
  void run_down(const Round& round, const RunContext& context) const noexcept;
  void add_up(const RunContext& context) const noexcept;
  void multiply(const ExpertMatrices& matrices, const ExpertGroup& group, int64_t begin,
                int64_t end, float* y, std::byte* workspace) const noexcept;

  ExpertsSettings settings_;
  bool one_class_ = false;  // both classes use the same arithmetic everywhere
  ExpertGroups groups_;
  std::span<Activations> activations_ = {};  // by group
  int64_t capacity_ = 0;                     // of a round: rows, each group's in whole tiles
  // Bytes of scratch memory, in this order.
  int64_t input_bytes_ = 0;   // prepared x of a round
  int64_t middle_bytes_ = 0;  // gate or up of a round
  int64_t hidden_bytes_ = 0;  // prepared act(gate) * up of a round
  int64_t table_bytes_ = 0;   // of groups_ and activations_
  int64_t output_bytes_ = 0;  // of every choice
  int64_t scratch_bytes_ = 0;
  std::byte* scratch_ = nullptr;  // of the step that runs
};

}  // namespace dunlin::cpu

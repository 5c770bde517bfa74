// A step whose weights are mapped: what it tells Offload before and behind its run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/bind.h"
#include "backend/cpu/bound_step.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/offload.h"
#include "program/program.h"

namespace dunlin::cpu {

struct OffloadedUse {
  StepWeights weights = {};
  const int32_t* chosen = nullptr;  // [T, per_row], of a step with experts
  int64_t per_row = 0;
  bool last = false;  // of a run
};

class OffloadedStep final : public BoundStep {
 public:
  // `offload` outlives it.
  OffloadedStep(std::unique_ptr<BoundStep> step, const OffloadedUse& use, Offload& offload)
      : step_(std::move(step)), use_(use), offload_(offload) {}

  void run(const RunContext& context) noexcept override;

  std::optional<StepWork> work(const RunContext& context) const noexcept override {
    return step_->work(context);
  }
  int64_t scratch_bytes() const override { return step_->scratch_bytes(); }
  int64_t workspace_bytes() const override { return step_->workspace_bytes(); }
  bool is_attention() const override { return step_->is_attention(); }
  std::vector<std::pair<std::string, std::string>> kernels() const override {
    return step_->kernels();
  }

 private:
  std::unique_ptr<BoundStep> step_;
  OffloadedUse use_;
  Offload& offload_;
};

// Makes an OffloadedStep of each; steps[i] was bound from fused[i].
void offload_steps(const Binding& binding, std::span<const FusedStep> fused, Offload& offload,
                   std::vector<std::unique_ptr<BoundStep>>& steps);

}  // namespace dunlin::cpu

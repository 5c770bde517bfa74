// The step of `route`: scores of all experts in float32, the best of each row, and their weights. A
// worker takes tiles of rows through all of it, so that nothing waits in between.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/bound_step.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/select.h"
#include "program/attributes.h"

namespace dunlin::cpu {

struct RouteSettings {
  PackedMatrix weight;          // [E, D]
  const float* bias = nullptr;  // [E]
  const float* x = nullptr;     // [rows, D]
  int32_t* chosen = nullptr;    // [rows, k]
  float* weights = nullptr;     // [rows, k]
  RouteAttributes attributes = {};
  LeadingRows rows = {};
  Kernel<PrepareFunction> prepare;  // of f32
  Kernel<LinearFunction> linear;    // f32 arithmetic
  Kernel<TopKFunction> top_k;
};

class RouteStep final : public BoundStep {
 public:
  explicit RouteStep(RouteSettings settings);
  void run(const RunContext& context) noexcept override;
  std::optional<StepWork> work(const RunContext& context) const noexcept override;
  int64_t workspace_bytes() const override;
  std::vector<std::pair<std::string, std::string>> kernels() const override;

 private:
  void run_tile(int64_t first, int64_t rows, std::byte* workspace) const noexcept;
  void choose(int64_t row, float* logits) const noexcept;

  RouteSettings settings_;
  int64_t prepared_bytes_ = 0;
};

}  // namespace dunlin::cpu

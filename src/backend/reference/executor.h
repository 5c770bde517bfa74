// The executable of the reference back end: runs the nodes of a Program in order.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/api.h"
#include "backend/reference/array.h"
#include "backend/reference/step_context.h"
#include "backend/reference/weights.h"

namespace dunlin::reference {

class ReferenceExecutable final : public Executable {
 public:
  ReferenceExecutable(Program program, std::vector<PreparedWeight> weights, KvType kv_type);

  Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) override;
  void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept override;
  std::vector<std::pair<std::string, std::string>> kernels() const override;
  const std::string& isa() const override { return isa_; }
  int threads() const override { return 1; }
  uint64_t weights_bytes() const override;
  // Of the steps run so far.
  uint64_t workspace_bytes() const override { return peak_bytes_; }
  std::optional<uint64_t> attention_bytes() const override { return peak_attention_bytes_; }

 private:
  void read_inputs(const StepContext& step);
  void run_node(size_t index, const StepContext& step);
  void free_after(size_t index);
  const Array& array(ValueId id) const;
  void fill_logits(StepOutput& output) const;
  void fill_taps(StepOutput& output) const;

  Program program_;
  std::vector<PreparedWeight> weights_;
  KvType kv_type_;
  std::string isa_ = "scalar";
  std::vector<std::vector<ValueId>> last_read_;  // by node: values that no later node reads
  std::vector<Array> values_;                    // by ValueId; weights are in weights_
  uint64_t held_bytes_ = 0;
  uint64_t peak_bytes_ = 0;
  uint64_t peak_attention_bytes_ = 0;
};

}  // namespace dunlin::reference

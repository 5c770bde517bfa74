// The executable of the CPU back end: bound steps in order, over memory planned at compile.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/bind.h"
#include "backend/cpu/bound_step.h"
#include "backend/cpu/memory_tuning.h"
#include "backend/cpu/offload.h"
#include "backend/cpu/reference_step.h"
#include "backend/cpu/step_recorder.h"
#include "backend/cpu/step_tables.h"

namespace dunlin::cpu {

class CpuExecutable final : public Executable {
 public:
  // `options.threads` is the number of threads, at least 1.
  static Result<std::unique_ptr<CpuExecutable>> create(const Program& program,
                                                       const WeightSource& source,
                                                       const CompileOptions& options, Isa isa);

  // What create() and make_kv_state() would hold; reads nothing, reserves nothing.
  static Result<Footprint> footprint(const Program& program, const WeightSource& source,
                                     const CompileOptions& options, Isa isa,
                                     const std::vector<int64_t>& pages_per_group);

  Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) override;
  // The first run() over an `output` grows its vectors; later ones allocate nothing, unless
  // kernels() names a reference step.
  void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept override;
  std::vector<std::pair<std::string, std::string>> kernels() const override;
  const std::string& isa() const override { return isa_; }
  int threads() const override { return pool_->threads(); }
  uint64_t weights_bytes() const override;
  uint64_t workspace_bytes() const override {
    return static_cast<uint64_t>(values_.bytes() + scratch_.bytes());
  }
  // As the scratch memory was planned.
  std::optional<uint64_t> attention_bytes() const override;
  std::string memory_tuning() const override;
  std::optional<OffloadStatistics> offload() const override;
  Result<void> record(Profile* profile) override;

 private:
  CpuExecutable(Program program, const CompileOptions& options, Isa isa, KvType kv_type);
  Result<void> compile(const WeightSource& source);
  Result<void> tune_memory(const WeightSource& source);
  Result<void> reserve_values(const std::vector<FusedStep>& fused);
  void bind_steps(const std::vector<FusedStep>& fused);
  int64_t plan_scratch();  // bytes
  Result<void> reserve_scratch();
  void find_outputs();
  Result<void> start_offload();
  void read_inputs(const StepPlan& plan) noexcept;
  void read_input(const Value& value, std::byte* to, const StepPlan& plan) const noexcept;
  void fill_logits(StepOutput& output) const noexcept;
  void fill_taps(StepOutput& output) const noexcept;

  // An output that is no part of the logits.
  struct Tap {
    std::string name;
    ValueType type;
    const std::byte* data;
  };
  struct Logits {
    const float* rows = nullptr;  // [R,V]
    int64_t vocabulary = 0;
    const float* statistics = nullptr;  // [R,5]
    const int32_t* ids = nullptr;       // [R,k]
    const float* candidates = nullptr;
    int64_t k = 0;
  };

  Program program_;
  CompileOptions options_;
  std::string isa_;
  KvType kv_type_;
  Kernels kernels_;
  std::unique_ptr<ThreadPool> pool_;
  TunedMemory memory_;
  Weights weights_;
  std::unique_ptr<ReferenceRunner> reference_;  // null: every step has a kernel
  Arena values_;                                // of the Program
  Arena scratch_;                               // of one step at a time, then one per worker
  int64_t workspaces_at_ = 0;                   // bytes from the start of scratch_
  int64_t workspace_stride_ = 0;
  StepTables tables_;
  std::unique_ptr<Binding> binding_;
  std::vector<FusedStep> fused_;      // what steps_ were bound from, in their order
  std::unique_ptr<Offload> offload_;  // null: all weights are in memory
  std::vector<std::unique_ptr<BoundStep>> steps_;
  std::unique_ptr<StepRecorder> recorder_;  // null: nobody records
  Logits logits_;
  std::vector<Tap> taps_;
};

}  // namespace dunlin::cpu

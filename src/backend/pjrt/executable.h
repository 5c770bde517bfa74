// The executable of the PJRT back end: steps become launches of compiled programs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/compiler.h"
#include "backend/pjrt/kv_state.h"
#include "backend/pjrt/launch.h"
#include "backend/pjrt/results.h"
#include "backend/pjrt/weights.h"

namespace dunlin::pjrt {

class PjrtExecutable final : public Executable {
 public:
  // `program_folder`: of the ProgramCache; empty: nothing is kept. `mesh`: of the client's first
  // devices. `steps`: of a loop, where the Program can have one (loop_steps()). Errors: weights that
  // are missing or do not fit, a program that the plug-in refuses, a mesh over which the Program
  // cannot be split (kind usage).
  static Result<std::unique_ptr<PjrtExecutable>> create(
      std::shared_ptr<const Client> client, const Program& program, const WeightSource& weights,
      const CompileOptions& options, CompileSpec spec = {}, const std::string& program_folder = {},
      const MeshShape& mesh = {}, int64_t steps = 1);

  Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) override;
  int64_t pages_per_slot(int32_t group) const override;
  int64_t most_steps() const override { return steps_; }
  void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept override;
  std::vector<std::pair<std::string, std::string>> kernels() const override;
  const std::string& isa() const override { return platform_; }
  int threads() const override { return 1; }  // of ours; the plug-in has its own
  uint64_t weights_bytes() const override { return weights_.bytes(); }
  uint64_t workspace_bytes() const override { return results_.bytes(); }

  DevicePrograms programs() const override { return compiler_->made(); }
  // For tests and reports: the compiled program of a bucket.
  Result<const CompiledBucket*> compiled(const Bucket& bucket) { return compiler_->bucket(bucket); }
  std::vector<Launch> launches(const StepPlan& plan, const PjrtKvState& state) const {
    return planner_.split(plan, state.shapes());
  }

 private:
  using Buffers = std::vector<Buffer>;
  PjrtExecutable(Program program, Program expanded, const CompileOptions& options,
                 std::shared_ptr<const ProgramSharding> sharding, int64_t steps);

  size_t devices() const;
  int64_t batch_part_of(size_t device) const;
  // Lists of i32 of each part of the batch, on its devices.
  Result<Buffers> upload_lists(const std::vector<std::vector<int32_t>>& of_parts) const;
  Result<void> upload_places();
  Result<std::vector<Buffers>> make_arrays(const std::vector<TensorType>& types);
  Result<void> run_step(const StepPlan& plan, PjrtKvState& state, StepOutput& output);
  Result<void> run_launch(const StepPlan& plan, const Launch& launch, PjrtKvState& state);
  Result<void> take_outputs(const Launch& launch, const LoweredProgram& lowered,
                            const std::vector<Buffers>& outputs);
  Result<void> take_chosen(const Launch& launch, const TensorType& type,
                           const std::vector<Buffers>& outputs);
  Result<void> copy_page(const PageMove& move, PjrtKvState& state);
  Result<void> clear_behind(const std::vector<LaunchPlanner::Holding>& holdings,
                            PjrtKvState& state);
  Result<void> clear_places(const LaunchPlanner::Holding& holding, PjrtKvState& state);

  Program program_;
  Program expanded_;
  std::shared_ptr<const ProgramSharding> sharding_;  // null: one device
  int64_t steps_;                                    // of a loop; 1: there are none
  LaunchPlanner planner_;
  StepResults results_;
  std::unique_ptr<Compiler> compiler_;
  DeviceWeights weights_;
  std::map<Op, std::string> forms_;  // of the weights that an operation reads
  Buffers places_;                   // of each device on the mesh; none for one device
  std::string platform_;
};

}  // namespace dunlin::pjrt

// StepRecorder: notes in a Profile what every step of a run takes, on every worker. Without one a run
// asks once whether there is one (CpuExecutable::run), and a loop of the thread pool once a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/bind.h"
#include "backend/cpu/bound_step.h"
#include "backend/cpu/fuse.h"
#include "backend/profile.h"
#include "base/thread_pool.h"

namespace dunlin::cpu {

class StepRecorder final : public LoopObserver {
 public:
  // Describes the steps to the profile: `steps[i]` was bound from `fused[i]`. All of them outlive it,
  // and the Program of the binding does.
  StepRecorder(const Binding& binding, std::span<const FusedStep> fused,
               std::span<const std::unique_ptr<BoundStep>> steps, int threads, Profile& profile);
  // The pool hears of it by its address.
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  // Runs all steps in order, and notes them where the profile has room for a whole run.
  void run(const RunContext& context) noexcept;

  void worked(int worker, int64_t begin_ns, int64_t end_ns) noexcept override;

 private:
  // What a worker did within a step; begin_ns 0: nothing. One cache line each.
  struct alignas(64) Lane {
    int64_t begin_ns = 0;
    int64_t end_ns = 0;
    int64_t busy_ns = 0;
  };

  void run_step(size_t step, const RunContext& context) noexcept;
  double moved_bytes(size_t step, const RunContext& context) const noexcept;

  std::span<const std::unique_ptr<BoundStep>> steps_;
  std::vector<std::vector<ValueType>> moved_;  // by step: what it reads and writes but weights
  std::vector<Lane> lanes_;                    // by worker
  Profile* profile_;
};

}  // namespace dunlin::cpu

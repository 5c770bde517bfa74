// BoundStep: a step of a Program with its kernels, weights and memory chosen; run() of the
// executable calls them in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/kv_state.h"
#include "backend/cpu/step_tables.h"
#include "base/thread_pool.h"
#include "step/step.h"

namespace dunlin::cpu {

// What the steps of one run() share.
struct RunContext {
  const StepPlan& plan;
  CpuKvState& state;
  const StepTables& tables;
  ThreadPool& pool;
  std::byte* scratch;        // of the step that runs, shared by its workers
  std::byte* workspaces;     // one per worker
  int64_t workspace_stride;  // bytes

  const SymbolSizes& sizes() const { return tables.sizes(); }
  std::byte* workspace(int worker) const { return workspaces + worker * workspace_stride; }
};

// What a run of a step asks of the machine, as ProfileEvent has it.
struct StepWork {
  double bytes = 0;
  double flops = 0;
};

class BoundStep {
 public:
  virtual ~BoundStep() = default;
  virtual void run(const RunContext& context) noexcept = 0;

  // Of the run() that has just ended, in whose memory nothing ran since. Nothing: the step reads
  // neither weights nor the cache, only its operands.
  virtual std::optional<StepWork> work(const RunContext& /*context*/) const noexcept {
    return std::nullopt;
  }

  // What the largest step needs, in bytes.
  virtual int64_t scratch_bytes() const { return 0; }
  virtual int64_t workspace_bytes() const { return 0; }  // of each worker
  // Whether these are what attention needs beside the KV cache.
  virtual bool is_attention() const { return false; }

  // Pairs of operation and kernel name.
  virtual std::vector<std::pair<std::string, std::string>> kernels() const = 0;
};

// Below this much work (float operations or so: 2 to 10 microseconds) a step runs on the caller:
// waking the workers and waiting for them costs about two.
inline constexpr int64_t kSerialWork = 32 * 1024;

// Calls f(begin, end, worker) over [0, tasks), on the caller alone where `work_per_task` says that
// the threads do not pay. Pieces are small enough that a late worker can hand some to another.
template <typename F>
void for_tasks(const RunContext& context, int64_t tasks, int64_t work_per_task, F&& f) noexcept {
  if (tasks <= 0) return;
  const int64_t threads = context.pool.threads();
  if (threads == 1 || tasks == 1 || tasks * work_per_task < kSerialWork) {
    f(int64_t{0}, tasks, 0);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, tasks / (threads * 4));
  context.pool.parallel_for(tasks, grain, f);
}

}  // namespace dunlin::cpu

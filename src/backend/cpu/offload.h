// Offload: computing with mapped weights of which memory holds a part. It decides when pages are read,
// kept and given back; what is computed with, and so every bit of a result, is the same mapped bytes.
//
//   dense weights   kept where they fit (residency_plan.h); of the others each group is read while the
//                   one before it computes, and given back when the next one has begun
//   experts         those that a step has chosen are read on all threads before the first product; what
//                   stays afterwards decides ExpertCache
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/expert_cache.h"
#include "backend/cpu/keeper.h"
#include "backend/cpu/pager.h"
#include "backend/cpu/residency.h"
#include "backend/cpu/residency_plan.h"
#include "backend/cpu/weight_map.h"
#include "base/process_reads.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace dunlin::cpu {

class Offload {
 public:
  using Progress = std::function<void(double fraction, const std::string& what)>;

  // `budget`: bytes of the weights that memory may hold. `per_row`: experts that a row chooses in a
  // layer, 0 without experts. Reads what is kept, and tells `progress`, which may be empty, how far it
  // is. Errors: those of Keeper.
  static Result<std::unique_ptr<Offload>> create(WeightMap map, int64_t per_row, uint64_t budget,
                                                 std::unique_ptr<Pager> pager,
                                                 const Progress& progress);
  // Lets go of what is locked. The weights are still mapped.
  ~Offload();
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  // From the thread that runs the steps, without allocation: before a step that reads a group's weights,
  // around one that computes with experts, and behind the last step of a run.
  void enter(int32_t group) noexcept;
  void choose(int32_t stack, std::span<const int32_t> chosen, ThreadPool& pool) noexcept;
  void leave() noexcept;
  void end_run() noexcept;

  const std::vector<StepWeights>& steps() const { return map_.steps; }
  // Not while a step runs.
  OffloadStatistics statistics() const;
  // Waits for what is read, kept and given back in the background.
  void settle() { keeper_->settle(); }

 private:
  Offload(WeightMap map, int64_t per_row, uint64_t budget, std::unique_ptr<Pager> pager);

  void chain_streamed_groups();
  void keep_pinned_groups(const Progress& progress);
  void work(const KeeperJob& job);
  void repin();
  void drop_expert(const ExpertId& id);
  void post_drops() noexcept;
  template <typename Function>
  void for_matrices(std::span<const ExpertId> experts, Function fn) const;

  WeightMap map_;
  uint64_t budget_;
  std::unique_ptr<Pager> pager_;
  ResidencyPlan plan_;
  ProcessReads reads_before_;
  // By group: the streamed ones around it, -1 where it is not streamed itself, or too few are.
  std::vector<int32_t> next_, previous_;
  int32_t entered_ = -1;
  int64_t runs_ = 0;
  bool locked_ = true;        // so far nothing was refused
  mutable std::mutex mutex_;  // of experts_ and locked_
  ExpertCache experts_;
  std::vector<ExpertId> pins_, unpins_;  // of the thread of keeper_
  std::unique_ptr<Keeper> keeper_;       // last: it ends before what it works with
};

}  // namespace dunlin::cpu

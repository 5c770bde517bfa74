#include "backend/cpu/offload.h"

#include <algorithm>
#include <utility>

namespace dunlin::cpu {

namespace {

// As counts are halved then, they remember about the last 64 steps.
constexpr int64_t kRunsBetweenPins = 32;

std::vector<ExpertStack> stacks_of(const std::vector<MappedExperts>& mapped) {
  std::vector<ExpertStack> stacks;
  for (const MappedExperts& each : mapped)
    stacks.push_back({.experts = each.experts, .bytes = each.bytes_each()});
  return stacks;
}

size_t expert_count(const WeightMap& map) {
  size_t count = 0;
  for (const MappedExperts& each : map.stacks) count += static_cast<size_t>(each.experts);
  return count;
}

}  // namespace

Offload::Offload(WeightMap map, int64_t per_row, uint64_t budget, std::unique_ptr<Pager> pager)
    : map_(std::move(map)),
      budget_(budget),
      pager_(std::move(pager)),
      plan_(plan_residency(map_, per_row, budget)),
      reads_before_(process_reads()),
      next_(map_.groups.size(), -1),
      previous_(map_.groups.size(), -1),
      // Two layers' choices change places while the pinned ones stay.
      experts_(stacks_of(map_.stacks), plan_.expert_room,
               2 * bytes_of_a_row(map_.stacks, per_row)) {
  pins_.reserve(expert_count(map_));
  unpins_.reserve(expert_count(map_));
  chain_streamed_groups();
}

Result<std::unique_ptr<Offload>> Offload::create(WeightMap map, int64_t per_row, uint64_t budget,
                                                 std::unique_ptr<Pager> pager,
                                                 const Progress& progress) {
  std::unique_ptr<Offload> offload(new Offload(std::move(map), per_row, budget, std::move(pager)));
  Offload* const self = offload.get();
  offload->keep_pinned_groups(progress);
  // Every expert can give way once, and every group be read and given back, before the first is done.
  const size_t capacity = expert_count(offload->map_) + 2 * offload->map_.groups.size() + 2;
  DUNLIN_ASSIGN_OR_RETURN(offload->keeper_, Keeper::create(capacity, [self](const KeeperJob& job) {
                            self->work(job);
                          }));
  for (size_t i = 0; i < offload->next_.size(); ++i) {
    if (offload->next_[i] < 0) continue;
    offload->keeper_->post(
        {.kind = KeeperJob::Kind::read_group, .number = static_cast<int32_t>(i)});
    break;
  }
  return offload;
}

Offload::~Offload() {
  keeper_.reset();
  for (size_t i = 0; i < map_.groups.size(); ++i) {
    if (!plan_.pinned[i]) continue;
    for (const MemoryRange& range : map_.groups[i].ranges) pager_->release(range);
  }
  for (size_t stack = 0; stack < map_.stacks.size(); ++stack) {
    for (int64_t expert = 0; expert < map_.stacks[stack].experts; ++expert) {
      const ExpertId id{static_cast<int32_t>(stack), static_cast<int32_t>(expert)};
      if (!experts_.pinned(id)) continue;
      for_matrices({&id, 1}, [this](const MemoryRange& range) { pager_->release(range); });
    }
  }
}

// With one or two there is nothing to read ahead that is not there already.
void Offload::chain_streamed_groups() {
  std::vector<int32_t> streamed;
  for (size_t i = 0; i < map_.groups.size(); ++i) {
    if (!plan_.pinned[i] && map_.groups[i].bytes > 0) streamed.push_back(static_cast<int32_t>(i));
  }
  const size_t count = streamed.size();
  if (count < 3) return;
  for (size_t i = 0; i < count; ++i) {
    next_[static_cast<size_t>(streamed[i])] = streamed[(i + 1) % count];
    previous_[static_cast<size_t>(streamed[i])] = streamed[(i + count - 1) % count];
  }
}

void Offload::keep_pinned_groups(const Progress& progress) {
  const auto report = [&](int64_t bytes) {
    if (progress && plan_.pinned_bytes > 0)
      progress(static_cast<double>(bytes) / static_cast<double>(plan_.pinned_bytes),
               "weights that stay in memory");
  };
  int64_t done = 0;
  for (size_t i = 0; i < map_.groups.size(); ++i) {
    if (!plan_.pinned[i]) continue;
    report(done);
    for (const MemoryRange& range : map_.groups[i].ranges) pager_->read_ahead(range);
    for (const MemoryRange& range : map_.groups[i].ranges) locked_ = pager_->hold(range) && locked_;
    done += map_.groups[i].bytes;
  }
  if (progress) progress(1, "");
}

void Offload::enter(int32_t group) noexcept {
  if (group == entered_) return;
  entered_ = group;
  const auto index = static_cast<size_t>(group);
  if (next_[index] < 0) return;
  keeper_->post({.kind = KeeperJob::Kind::read_group, .number = next_[index]});
  keeper_->post({.kind = KeeperJob::Kind::drop_group, .number = previous_[index]});
}

void Offload::choose(int32_t stack, std::span<const int32_t> chosen, ThreadPool& pool) noexcept {
  {
    const std::lock_guard lock(mutex_);
    experts_.choose(stack, chosen);
    post_drops();
  }
  // Nobody else changes this list.
  const std::span<const ExpertId> reads = experts_.reads();
  if (reads.empty()) return;
  const MappedExperts& experts = map_.stacks[static_cast<size_t>(stack)];
  constexpr int64_t kMatrices = MappedExperts::kMatrices;
  const auto tasks = static_cast<int64_t>(reads.size()) * kMatrices;
  pool.parallel_for(tasks, 1, [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t expert = reads[static_cast<size_t>(i / kMatrices)].expert;
      pager_->read_ahead(experts.matrix(expert, i % kMatrices));
    }
  });
}

void Offload::leave() noexcept {
  const std::lock_guard lock(mutex_);
  experts_.leave();
  post_drops();
}

// A job that finds no place is lost: its pages stay until the system wants them.
void Offload::post_drops() noexcept {
  for (const ExpertId& id : experts_.drops())
    keeper_->post({.kind = KeeperJob::Kind::drop_expert, .number = id.stack, .expert = id.expert});
}

void Offload::end_run() noexcept {
  ++runs_;
  if (!map_.stacks.empty() && runs_ % kRunsBetweenPins == 0)
    keeper_->post({.kind = KeeperJob::Kind::repin});
}

void Offload::work(const KeeperJob& job) {
  const auto number = static_cast<size_t>(job.number);
  switch (job.kind) {
    case KeeperJob::Kind::read_group:
      for (const MemoryRange& range : map_.groups[number].ranges) pager_->read_ahead(range);
      return;
    case KeeperJob::Kind::drop_group:
      for (const MemoryRange& range : map_.groups[number].ranges) pager_->drop(range);
      return;
    case KeeperJob::Kind::drop_expert:
      return drop_expert({job.number, job.expert});
    case KeeperJob::Kind::repin:
      return repin();
  }
}

void Offload::drop_expert(const ExpertId& id) {
  {
    const std::lock_guard lock(mutex_);
    if (experts_.held(id)) return;  // chosen again since
  }
  for_matrices({&id, 1}, [this](const MemoryRange& range) { pager_->drop(range); });
}

// Waiting for the system is outside of the lock.
void Offload::repin() {
  {
    const std::lock_guard lock(mutex_);
    experts_.repin();
    pins_.assign(experts_.pins().begin(), experts_.pins().end());
    unpins_.assign(experts_.unpins().begin(), experts_.unpins().end());
  }
  for_matrices(unpins_, [this](const MemoryRange& range) { pager_->release(range); });
  bool locked = true;
  for_matrices(pins_, [&](const MemoryRange& range) { locked = pager_->hold(range) && locked; });
  const std::lock_guard lock(mutex_);
  locked_ = locked_ && locked;
}

template <typename Function>
void Offload::for_matrices(std::span<const ExpertId> experts, Function fn) const {
  for (const ExpertId& id : experts) {
    for (int64_t i = 0; i < MappedExperts::kMatrices; ++i)
      fn(map_.stacks[static_cast<size_t>(id.stack)].matrix(id.expert, i));
  }
}

OffloadStatistics Offload::statistics() const {
  const std::lock_guard lock(mutex_);
  const ProcessReads reads = process_reads();
  return {.budget_bytes = budget_,
          .pinned_bytes = static_cast<uint64_t>(plan_.pinned_bytes + experts_.pinned_bytes()),
          .streamed_bytes = static_cast<uint64_t>(plan_.streamed_bytes),
          .expert_room_bytes = static_cast<uint64_t>(plan_.expert_room),
          .locked = locked_,
          .expert_uses = experts_.uses(),
          .expert_hits = experts_.hits(),
          .read_bytes = reads.bytes - reads_before_.bytes,
          .major_faults = reads.major_faults - reads_before_.major_faults};
}

}  // namespace dunlin::cpu

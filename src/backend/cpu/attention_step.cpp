// Plans units and tasks of a step, then runs them over the threads.
#include "backend/cpu/attention_step.h"

#include <algorithm>

#include "backend/cpu/work_sizes.h"
#include "base/check.h"

namespace dunlin::cpu {

namespace {

constexpr int64_t kRowsToSplit = 8;         // more rows fill a unit well enough
constexpr int64_t kUnitsPerThread = 4;      // enough to even out units of different length
constexpr int64_t kPartialBytes = 8 << 20;  // of partial results, when one row's need less

int64_t splits_of(int64_t positions) {
  return (positions + kSplitTokens - 1) / kSplitTokens;
}

}  // namespace

AttentionStep::AttentionStep(AttentionSettings settings) : settings_(std::move(settings)) {
  const StepLimits& limits = settings_.limits;
  group_ = settings_.group;
  partial_stride_ = round_up(attention_partial_floats(settings_.head_dim), 16);
  const int64_t of_row = settings_.heads * splits_of(limits.context);
  const int64_t affordable = kPartialBytes / (of_row * partial_stride_ * int64_t{4});
  partials_limit_ =
      settings_.threads == 1 ? 0 : of_row * std::clamp(affordable, int64_t{1}, kRowsToSplit);
  // Each sequence ends in one unit that is not full.
  const int64_t units = (limits.rows / kAttentionRows + limits.sequences) * settings_.kv_heads;
  units_.reserve(static_cast<size_t>(units));
  tasks_.reserve(static_cast<size_t>(units + partials_limit_));
  unfinished_ = std::make_unique<std::atomic<int32_t>[]>(static_cast<size_t>(units));
}

int64_t AttentionStep::scratch_bytes() const {
  return partials_limit_ * partial_stride_ * static_cast<int64_t>(sizeof(float));
}

void AttentionStep::run(const RunContext& context) noexcept {
  plan(context);
  write_rows(context);
  const auto run_tasks = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      run_task(context, tasks_[static_cast<size_t>(i)], worker);
    }
  };
  const auto tasks = static_cast<int64_t>(tasks_.size());
  if (work_ < kSerialWork) {
    run_tasks(0, tasks, 0);
  } else {
    context.pool.parallel_for(tasks, 1, run_tasks);
  }
}

void AttentionStep::plan(const RunContext& context) noexcept {
  units_.clear();
  tasks_.clear();
  partials_ = 0;
  work_ = 0;
  const auto sequences = static_cast<int64_t>(context.tables.sequences().size());
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    plan_sequence(context, sequence, sequences * settings_.kv_heads);
  }
}

void AttentionStep::plan_sequence(const RunContext& context, int64_t sequence,
                                  int64_t units) noexcept {
  const SequenceRows& rows = context.tables.sequences()[static_cast<size_t>(sequence)];
  const int64_t count = rows.end - rows.first;
  const bool few_units = units < kUnitsPerThread * context.pool.threads();
  for (int64_t kv_head = 0; kv_head < settings_.kv_heads; ++kv_head) {
    for (int64_t row = rows.first; row < rows.end; row += kAttentionRows) {
      Unit unit{sequence, row, std::min(rows.end, row + kAttentionRows), kv_head, {0, 0}, -1};
      unit.splits = attention_splits(arguments(context, unit));
      const int64_t splits = unit.splits.end - unit.splits.first;
      const int64_t partials = count * group_ * splits;
      const bool split = few_units && count <= kRowsToSplit && splits > 1 &&
                         partials_ + partials <= partials_limit_;
      if (split) {
        unit.partials = partials_;
        partials_ += partials;
      }
      work_ += (unit.row_end - unit.row_begin) * group_ * settings_.head_dim *
               std::min<int64_t>(rows.length, splits * kSplitTokens);
      add_tasks(unit);
    }
  }
}

void AttentionStep::add_tasks(Unit unit) noexcept {
  const auto number = static_cast<int32_t>(units_.size());
  DUNLIN_CHECK(units_.size() < units_.capacity(), "attention: more units than planned");
  if (unit.partials < 0) {
    tasks_.push_back({number, -1});
  } else {
    for (int64_t split = unit.splits.first; split < unit.splits.end; ++split) {
      tasks_.push_back({number, static_cast<int32_t>(split)});
    }
    unfinished_[static_cast<size_t>(number)].store(
        static_cast<int32_t>(unit.splits.end - unit.splits.first), std::memory_order_relaxed);
  }
  units_.push_back(unit);
}

// Keys are written before any task reads them, unless each is read by the task that writes it: one
// sequence, whose units are whole kv heads.
void AttentionStep::write_rows(const RunContext& context) noexcept {
  units_write_ = context.tables.sequences().size() == 1 && partials_ == 0 &&
                 std::ssize(units_) == settings_.kv_heads;
  if (!units_write_) write_attention_rows(settings_, context);
}

AttentionArgs AttentionStep::arguments(const RunContext& context, const Unit& unit) const noexcept {
  return attention_args(settings_, context, unit.sequence, unit.row_begin, unit.row_end,
                        unit.kv_head);
}

void AttentionStep::run_task(const RunContext& context, const Task& task, int worker) noexcept {
  const Unit& unit = units_[static_cast<size_t>(task.unit)];
  AttentionArgs args = arguments(context, unit);
  args.workspace = context.workspace(worker);
  if (unit.partials < 0) {
    for (int64_t row = unit.row_begin; units_write_ && row < unit.row_end; ++row) {
      write_attention_row(settings_, context, row, unit.sequence, unit.kv_head, unit.kv_head + 1);
    }
    const int64_t at = unit.row_begin * args.q_stride + unit.kv_head * group_ * settings_.head_dim;
    settings_.attention.run(args, settings_.result + at, args.q_stride);
    return;
  }
  settings_.split.run(args, task.split, partial(context, unit, task.split), partial_stride_);
  auto& unfinished = unfinished_[static_cast<size_t>(task.unit)];
  if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) merge(context, unit);
}

// Partial results of a unit: [split][row][head].
float* AttentionStep::partial(const RunContext& context, const Unit& unit,
                              int64_t split) const noexcept {
  const int64_t queries = (unit.row_end - unit.row_begin) * group_;
  const int64_t number = unit.partials + (split - unit.splits.first) * queries;
  return reinterpret_cast<float*>(context.scratch) + number * partial_stride_;
}

void AttentionStep::merge(const RunContext& context, const Unit& unit) const noexcept {
  const int64_t rows = unit.row_end - unit.row_begin;
  const float* first = partial(context, unit, unit.splits.first);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t head = 0; head < group_; ++head) {
      const int64_t global_head = unit.kv_head * group_ + head;
      const int64_t at = (unit.row_begin + row) * settings_.heads + global_head;
      settings_.merge.run(first + (row * group_ + head) * partial_stride_,
                          unit.splits.end - unit.splits.first, rows * group_ * partial_stride_,
                          settings_.head_dim,
                          settings_.sinks == nullptr ? nullptr : settings_.sinks + global_head,
                          settings_.result + at * settings_.head_dim);
    }
  }
}

std::vector<std::pair<std::string, std::string>> AttentionStep::kernels() const {
  std::vector<std::pair<std::string, std::string>> names{
      {settings_.name, settings_.attention.name},
      {settings_.name + " split", settings_.split.name},
      {settings_.name + " merge", settings_.merge.name},
      {"kv_write", settings_.kv_write.name}};
  if (settings_.rope_q.run != nullptr) names.emplace_back("rope", settings_.rope_q.name);
  return names;
}

}  // namespace dunlin::cpu

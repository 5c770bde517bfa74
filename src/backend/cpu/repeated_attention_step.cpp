#include "backend/cpu/repeated_attention_step.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/work_sizes.h"
#include "base/check.h"

namespace dunlin::cpu {

namespace {

int64_t pages_for(int64_t positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

}  // namespace

RepeatedAttentionStep::RepeatedAttentionStep(AttentionSettings settings)
    : settings_(std::move(settings)),
      block_bytes_(kv_page_bytes(settings_.kv_type, settings_.head_dim)),
      page_ids_(static_cast<size_t>(pages_for(settings_.limits.context)), -1) {
  DUNLIN_CHECK(settings_.group > 1, "no query heads share keys and values");
}

int64_t RepeatedAttentionStep::scratch_bytes() const {
  return settings_.heads * std::ssize(page_ids_) * block_bytes_;
}

void RepeatedAttentionStep::run(const RunContext& context) noexcept {
  write_attention_rows(settings_, context);
  const auto sequences = static_cast<int64_t>(context.tables.sequences().size());
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    find_pages(context, sequence);
    copy_pages(context, sequence);
    attend(context, sequence);
  }
}

// Those of the splits that the rows see, as far as they are there.
void RepeatedAttentionStep::find_pages(const RunContext& context, int64_t sequence) noexcept {
  constexpr int64_t kSplitPages = kSplitTokens / kPageTokens;
  const SequenceRows& rows = context.tables.sequences()[static_cast<size_t>(sequence)];
  const SplitRange splits = attention_splits(
      attention_args(settings_, context, sequence, rows.first, rows.end, /*kv_head=*/0));
  const auto group = static_cast<size_t>(settings_.attributes.group);
  const auto table = context.plan.tables[group].of(sequence);
  const int64_t held = std::min(std::ssize(table), std::ssize(page_ids_));
  first_page_ = std::min(splits.first * kSplitPages, held);
  end_page_ = std::min(splits.end * kSplitPages, held);
  std::ranges::fill(page_ids_, -1);
  for (int64_t page = first_page_; page < end_page_; ++page) {
    const auto index = static_cast<size_t>(page);
    if (table[index] >= 0) page_ids_[index] = static_cast<int32_t>(page);
  }
}

void RepeatedAttentionStep::copy_pages(const RunContext& context, int64_t sequence) const noexcept {
  const AttentionAttributes& attributes = settings_.attributes;
  const auto table = context.plan.tables[static_cast<size_t>(attributes.group)].of(sequence);
  const int64_t page_stride = context.state.page_stride(attributes.group);
  const int64_t pages = end_page_ - first_page_;
  const auto copy = [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / pages;
      const int64_t page = first_page_ + i % pages;
      if (page_ids_[static_cast<size_t>(page)] < 0) continue;
      const std::byte* const from =
          context.state.block(attributes.group, attributes.layer, head / settings_.group) +
          table[static_cast<size_t>(page)] * page_stride;
      std::memcpy(copies(context, head) + page * block_bytes_, from,
                  static_cast<size_t>(block_bytes_));
    }
  };
  constexpr int64_t kBytesPerWork = 4;  // as long as an addition, about
  for_tasks(context, settings_.heads * pages, block_bytes_ / kBytesPerWork, copy);
}

void RepeatedAttentionStep::attend(const RunContext& context, int64_t sequence) const noexcept {
  const SequenceRows& rows = context.tables.sequences()[static_cast<size_t>(sequence)];
  const int64_t count = rows.end - rows.first;
  const int64_t units = (count + kAttentionRows - 1) / kAttentionRows;  // of a head
  const int64_t work = std::min(count, kAttentionRows) * settings_.head_dim *
                       std::min<int64_t>(rows.length, (end_page_ - first_page_) * kPageTokens);
  const auto run_units = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows.first + i % units * kAttentionRows;
      attend_head(context, sequence, row, std::min(rows.end, row + kAttentionRows), i / units,
                  worker);
    }
  };
  for_tasks(context, settings_.heads * units, work, run_units);
}

void RepeatedAttentionStep::attend_head(const RunContext& context, int64_t sequence,
                                        int64_t row_begin, int64_t row_end, int64_t head,
                                        int worker) const noexcept {
  const int64_t kv_head = head / settings_.group;
  const int64_t within = head % settings_.group;
  AttentionArgs args = attention_args(settings_, context, sequence, row_begin, row_end, kv_head);
  args.q += within * settings_.head_dim;
  args.group = 1;
  args.pages = copies(context, head);
  args.page_stride = block_bytes_;
  args.page_ids = page_ids_.data();
  args.length = std::min<int64_t>(args.length, std::ssize(page_ids_) * kPageTokens);
  if (args.sinks != nullptr) args.sinks += within;
  args.workspace = context.workspace(worker);
  float* const y = settings_.result + row_begin * args.q_stride + head * settings_.head_dim;
  settings_.attention.run(args, y, args.q_stride);
}

std::byte* RepeatedAttentionStep::copies(const RunContext& context, int64_t head) const noexcept {
  return context.scratch + head * std::ssize(page_ids_) * block_bytes_;
}

std::vector<std::pair<std::string, std::string>> RepeatedAttentionStep::kernels() const {
  std::vector<std::pair<std::string, std::string>> names{{settings_.name, settings_.attention.name},
                                                         {"kv_repeat", "copy_pages"},
                                                         {"kv_write", settings_.kv_write.name}};
  if (settings_.rope_q.run != nullptr) names.emplace_back("rope", settings_.rope_q.name);
  return names;
}

}  // namespace dunlin::cpu

#include "backend/cpu/attention_rows.h"

#include <algorithm>

#include "backend/cpu/kernels/attention.h"

namespace dunlin::cpu {

void write_attention_row(const AttentionSettings& settings, const RunContext& context, int64_t row,
                         int64_t sequence, int64_t kv_head_begin, int64_t kv_head_end) noexcept {
  const int64_t h = settings.head_dim;
  const int64_t group = settings.group;
  const AttentionAttributes& attributes = settings.attributes;
  const int64_t kv_heads = kv_head_end - kv_head_begin;
  const int64_t k_at = (row * settings.kv_heads + kv_head_begin) * h;
  if (settings.rope_q.run != nullptr) {
    const RopeOperand& q = settings.q;
    const int64_t q_at = (row * settings.heads + kv_head_begin * group) * h;
    settings.rope_q.run(q.x + q_at, kv_heads * group, h, q.rotary_dim,
                        q.angles + row * q.angle_stride, q.y + q_at);
  }
  if (settings.rope_k.run != nullptr) {
    const RopeOperand& k = settings.k;
    settings.rope_k.run(k.x + k_at, kv_heads, h, k.rotary_dim, k.angles + row * k.angle_stride,
                        k.y + k_at);
  }
  const int32_t position = context.plan.positions[static_cast<size_t>(row)];
  const auto pages = context.plan.tables[static_cast<size_t>(attributes.group)].of(sequence);
  const int64_t page = pages[static_cast<size_t>(position / kPageTokens)] *
                       context.state.page_stride(attributes.group);
  for (int64_t kv_head = kv_head_begin; kv_head < kv_head_end; ++kv_head) {
    const int64_t at = (row * settings.kv_heads + kv_head) * h;
    settings.kv_write.run(settings.k.y + at, settings.v + at, h, position % kPageTokens,
                          context.state.block(attributes.group, attributes.layer, kv_head) + page);
  }
}

void write_attention_rows(const AttentionSettings& settings, const RunContext& context) noexcept {
  const auto row_sequences = context.tables.row_sequences();
  const int64_t work = (settings.heads + 4 * settings.kv_heads) * settings.head_dim;
  for_tasks(context, context.sizes().rows, work, [&](int64_t begin, int64_t end, int /*worker*/) {
    for (int64_t row = begin; row < end; ++row) {
      write_attention_row(settings, context, row, row_sequences[static_cast<size_t>(row)], 0,
                          settings.kv_heads);
    }
  });
}

AttentionArgs attention_args(const AttentionSettings& settings, const RunContext& context,
                             int64_t sequence, int64_t row_begin, int64_t row_end,
                             int64_t kv_head) noexcept {
  const AttentionAttributes& attributes = settings.attributes;
  const SequenceRows& rows = context.tables.sequences()[static_cast<size_t>(sequence)];
  const auto pages = context.plan.tables[static_cast<size_t>(attributes.group)].of(sequence);
  const int64_t first_head = kv_head * settings.group;
  AttentionArgs args{};
  args.q_stride = settings.heads * settings.head_dim;
  args.q = settings.q.y + row_begin * args.q_stride + first_head * settings.head_dim;
  args.rows = row_end - row_begin;
  args.positions = context.plan.positions.data() + row_begin;
  args.group = settings.group;
  args.head_dim = settings.head_dim;
  args.pages = context.state.block(attributes.group, attributes.layer, kv_head);
  args.page_stride = context.state.page_stride(attributes.group);
  args.page_ids = pages.data();
  args.length = std::min<int64_t>(rows.length, std::ssize(pages) * kPageTokens);
  args.causal = attributes.mask == MaskKind::causal;
  args.window = attributes.window;
  args.scale = attributes.scale;
  args.softcap = attributes.softcap;
  args.sinks = settings.sinks == nullptr ? nullptr : settings.sinks + first_head;
  return args;
}

StepWork attention_work(const AttentionSettings& settings, const RunContext& context) noexcept {
  const double position_bytes =
      static_cast<double>(settings.kv_heads * kv_page_bytes(settings.kv_type, settings.head_dim)) /
      kPageTokens;
  const auto query = static_cast<double>(settings.heads * settings.head_dim);
  StepWork work;
  for (int64_t s = 0; s < std::ssize(context.tables.sequences()); ++s) {
    const SequenceRows& rows = context.tables.sequences()[static_cast<size_t>(s)];
    const AttentionArgs args =
        attention_args(settings, context, s, rows.first, rows.end, /*kv_head=*/0);
    int64_t begin = args.length;
    int64_t end = 0;
    int64_t seen = 0;
    for (int64_t row = 0; row < args.rows; ++row) {
      const VisibleRange range = visible_range(args, row);
      if (range.begin >= range.end) continue;
      begin = std::min(begin, range.begin);
      end = std::max(end, range.end);
      seen += range.end - range.begin;
    }
    work.bytes += position_bytes * static_cast<double>(std::max<int64_t>(0, end - begin));
    work.flops += 4 * query * static_cast<double>(seen);
  }
  return work;
}

}  // namespace dunlin::cpu

// `attention`, `state_write` and `state_read`: the operations that know sequences and the KV cache.
#include <algorithm>

#include "backend/reference/node_run.h"
#include "backend/reference/scalar.h"
#include "base/check.h"

namespace dunlin::reference {
namespace {

// Keys and values of one sequence and kv head by position, as KeyValues views them.
struct GatheredKeyValues {
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<uint8_t> present;
  std::vector<float> key_scales;  // empty unless keys and values are codes
  std::vector<float> value_scales;

  // Whole splits.
  static int64_t length_of(int64_t positions) {
    return (positions + kSplitPositions - 1) / kSplitPositions * kSplitPositions;
  }
  static int64_t bytes_of_position(int64_t head_dim, KvType type) {
    const int64_t floats = 2 * head_dim + (type == KvType::int8 ? 2 : 0);
    return floats * int64_t{sizeof(float)} + 1;
  }

  GatheredKeyValues(int64_t positions, int64_t head_dim, KvType type) {
    const int64_t length = length_of(positions);
    keys.resize(static_cast<size_t>(length * head_dim));
    values.resize(static_cast<size_t>(length * head_dim));
    present.resize(static_cast<size_t>(length));
    if (type != KvType::int8) return;
    key_scales.resize(static_cast<size_t>(length));
    value_scales.resize(static_cast<size_t>(length));
  }
  bool has_scales() const { return !key_scales.empty(); }
  KeyValues view() const {
    return {keys.data(),
            values.data(),
            present.data(),
            static_cast<int64_t>(present.size()),
            has_scales() ? key_scales.data() : nullptr,
            has_scales() ? value_scales.data() : nullptr};
  }
};

// One key or value as the cache would give it back. Returns its scale, which only int8 has.
float round_as_stored(KvType type, const float* x, int64_t width, float* stored) {
  if (type == KvType::int8) {
    std::vector<int8_t> codes(static_cast<size_t>(width));
    const float scale = quantize_group(x, width, codes.data());
    std::ranges::transform(codes, stored, [](int8_t code) { return static_cast<float>(code); });
    return scale;
  }
  std::transform(x, x + width, stored, [type](float value) {
    return type == KvType::bf16 ? round_to_bf16(value) : value;
  });
  return 1.0f;
}

// The physical page of a position, or -1 where there is none.
int32_t page_of(std::span<const int32_t> pages, int64_t position) {
  const auto number = static_cast<size_t>(position / kPageTokens);
  return number < pages.size() ? pages[number] : -1;
}

void write_rows(const StepContext& step, const StateAttributes& place, const Array& k,
                const Array& v) {
  const KvTable& table = step.plan.tables[static_cast<size_t>(place.group)];
  const int64_t kv_heads = k.dim(1);
  const int64_t head_dim = k.dim(2);
  for (int64_t row = 0; row < step.sizes.rows; ++row) {
    const auto index = static_cast<size_t>(row);
    const int32_t position = step.plan.positions[index];
    const int32_t page = page_of(table.of(step.row_sequences[index]), position);
    DUNLIN_CHECK(page >= 0, "a row without a page");
    for (int64_t head = 0; head < kv_heads; ++head) {
      const int64_t offset = (row * kv_heads + head) * head_dim;
      step.state.write({place.group, place.layer, head, page, position % kPageTokens},
                       k.f32() + offset, v.f32() + offset);
    }
  }
}

GatheredKeyValues gather_from_state(const StepContext& step, const StateAttributes& place,
                                    int64_t sequence, int64_t kv_head, int64_t head_dim) {
  const KvTable& table = step.plan.tables[static_cast<size_t>(place.group)];
  const std::span<const int32_t> pages = table.of(sequence);
  const int32_t length = step.lengths[static_cast<size_t>(sequence)];
  GatheredKeyValues gathered(length, head_dim, step.kv_type);
  for (int32_t position = 0; position < length; ++position) {
    const int32_t page = page_of(pages, position);
    if (page < 0) continue;
    const int64_t offset = position * head_dim;
    const ReferenceKvState::Scales scales =
        step.state.read({place.group, place.layer, kv_head, page, position % kPageTokens},
                        gathered.keys.data() + offset, gathered.values.data() + offset);
    gathered.present[static_cast<size_t>(position)] = 1;
    if (!gathered.has_scales()) continue;
    gathered.key_scales[static_cast<size_t>(position)] = scales.key;
    gathered.value_scales[static_cast<size_t>(position)] = scales.value;
  }
  return gathered;
}

// Without state: the sequence's rows of this step, rounded as the cache would.
GatheredKeyValues gather_from_rows(const StepContext& step, const SequenceRows& rows,
                                   const Array& k, const Array& v, int64_t kv_head) {
  const int64_t head_dim = k.dim(2);
  const int32_t last = step.plan.positions[static_cast<size_t>(rows.end - 1)];
  GatheredKeyValues gathered(last + 1, head_dim, step.kv_type);
  for (int64_t row = rows.first; row < rows.end; ++row) {
    const int32_t position = step.plan.positions[static_cast<size_t>(row)];
    const int64_t from = (row * k.dim(1) + kv_head) * head_dim;
    const int64_t to = position * head_dim;
    const float key_scale =
        round_as_stored(step.kv_type, k.f32() + from, head_dim, gathered.keys.data() + to);
    const float value_scale =
        round_as_stored(step.kv_type, v.f32() + from, head_dim, gathered.values.data() + to);
    gathered.present[static_cast<size_t>(position)] = 1;
    if (!gathered.has_scales()) continue;
    gathered.key_scales[static_cast<size_t>(position)] = key_scale;
    gathered.value_scales[static_cast<size_t>(position)] = value_scale;
  }
  return gathered;
}

// The key or value of a slot: its elements, times its scale where there are any.
void copy_slot(const std::vector<float>& elements, const std::vector<float>& scales, int64_t slot,
               int64_t head_dim, float* to) {
  const float* const from = elements.data() + slot * head_dim;
  if (scales.empty()) {
    std::copy_n(from, head_dim, to);
    return;
  }
  const float scale = scales[static_cast<size_t>(slot)];
  std::transform(from, from + head_dim, to, [scale](float code) { return code * scale; });
}

// All rows of a sequence and the query heads that share a kv head.
void attend_rows(NodeRun& run, const SequenceRows& rows, int64_t kv_head,
                 const GatheredKeyValues& gathered) {
  const auto& attributes = run.attributes<AttentionAttributes>();
  const Array& q = run.operand(0);
  const Array* sinks = run.operand_or_null(3);
  const int64_t heads = q.dim(1);
  const int64_t head_dim = q.dim(2);
  const int64_t group = heads / run.operand(1).dim(1);
  for (int64_t row = rows.first; row < rows.end; ++row) {
    const int32_t position = run.step.plan.positions[static_cast<size_t>(row)];
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const int64_t offset = (row * heads + head) * head_dim;
      attention(q.f32() + offset, position, gathered.view(), head_dim, attributes,
                sinks == nullptr ? nullptr : sinks->f32() + head, run.step.kv_type != KvType::f32,
                run.result().f32() + offset);
    }
  }
}

}  // namespace

void run_attention(NodeRun& run) {
  const auto& attributes = run.attributes<AttentionAttributes>();
  const StateAttributes place{attributes.group, attributes.layer};
  const Array& k = run.operand(1);
  const Array& v = run.operand(2);
  if (attributes.stateful) write_rows(run.step, place, k, v);
  for (int64_t sequence = 0; sequence < run.step.sizes.sequences; ++sequence) {
    const SequenceRows& rows = run.step.sequences[static_cast<size_t>(sequence)];
    for (int64_t kv_head = 0; kv_head < k.dim(1); ++kv_head) {
      attend_rows(run, rows, kv_head,
                  attributes.stateful
                      ? gather_from_state(run.step, place, sequence, kv_head, k.dim(2))
                      : gather_from_rows(run.step, rows, k, v, kv_head));
    }
  }
}

uint64_t gathered_bytes(const NodeRun& run) {
  const int64_t longest = *std::max_element(run.step.lengths.begin(), run.step.lengths.end());
  const int64_t of_position =
      GatheredKeyValues::bytes_of_position(run.operand(1).dim(2), run.step.kv_type);
  return static_cast<uint64_t>(GatheredKeyValues::length_of(longest) * of_position);
}

void run_state(NodeRun& run) {
  const auto& place = run.attributes<StateAttributes>();
  if (run.node.op == Op::state_write) {
    return write_rows(run.step, place, run.operand(0), run.operand(1));
  }
  Array& k = run.result(0);  // [S,C,K,h]
  Array& v = run.result(1);
  Array& positions = run.result(2);  // [S,C]
  const int64_t slots = k.dim(1);
  const int64_t kv_heads = k.dim(2);
  const int64_t head_dim = k.dim(3);
  for (int64_t sequence = 0; sequence < k.dim(0); ++sequence) {
    const int64_t length = run.step.lengths[static_cast<size_t>(sequence)];
    for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      const GatheredKeyValues gathered =
          gather_from_state(run.step, place, sequence, kv_head, head_dim);
      for (int64_t slot = 0; slot < slots; ++slot) {
        const bool present = slot < length && gathered.present[static_cast<size_t>(slot)] != 0;
        positions.i32()[sequence * slots + slot] = present ? static_cast<int32_t>(slot) : -1;
        if (!present) continue;
        const int64_t to = ((sequence * slots + slot) * kv_heads + kv_head) * head_dim;
        copy_slot(gathered.keys, gathered.key_scales, slot, head_dim, k.f32() + to);
        copy_slot(gathered.values, gathered.value_scales, slot, head_dim, v.f32() + to);
      }
    }
  }
}

}  // namespace dunlin::reference

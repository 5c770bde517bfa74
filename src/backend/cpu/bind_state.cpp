// state_write and state_read: keys and values to and from the pages of the KV cache.
#include <algorithm>
#include <cstring>

#include "backend/cpu/bind.h"
#include "backend/cpu/row_steps.h"
#include "base/float16.h"

namespace dunlin::cpu {

namespace {

float load_float(const std::byte* at) {
  float value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// An element of a page in float32; codes times the scale.
float read_element(KvType type, const std::byte* at, float scale) {
  if (type == KvType::f32) return load_float(at);
  if (type == KvType::int8) return static_cast<float>(static_cast<int8_t>(*at)) * scale;
  bfloat16 value;
  std::memcpy(&value, at, sizeof(value));
  return to_float(value);
}

struct StateReader {
  StateAttributes place;
  KvType type;
  int64_t kv_heads;
  int64_t head_dim;
  float* k;            // [S,C,K,h]
  float* v;            // [S,C,K,h]
  int32_t* positions;  // [S,C]

  // One sequence; slots that are not in the cache hold zeros and position -1.
  void operator()(const RunContext& context, int64_t sequence) const noexcept {
    const auto pages = context.plan.tables[static_cast<size_t>(place.group)].of(sequence);
    const int64_t length = context.tables.sequences()[static_cast<size_t>(sequence)].length;
    const int64_t slots = context.sizes().slots;
    for (int64_t slot = 0; slot < slots; ++slot) {
      const bool within = slot < length && slot / kPageTokens < std::ssize(pages);
      const int32_t page = within ? pages[static_cast<size_t>(slot / kPageTokens)] : -1;
      const int64_t at = sequence * slots + slot;
      positions[at] = page >= 0 ? static_cast<int32_t>(slot) : -1;
      read_slot(context, page, slot % kPageTokens, at * kv_heads * head_dim);
    }
  }

  void read_slot(const RunContext& context, int32_t page, int64_t slot, int64_t to) const noexcept {
    if (page < 0) {
      std::fill_n(k + to, kv_heads * head_dim, 0.0f);
      std::fill_n(v + to, kv_heads * head_dim, 0.0f);
      return;
    }
    for (int64_t head = 0; head < kv_heads; ++head) {
      const std::byte* block = context.state.block(place.group, place.layer, head) +
                               page * context.state.page_stride(place.group);
      const std::byte* values = block + kv_value_offset(type, head_dim);
      const bool codes = kv_has_scales(type);
      const float key_scale =
          codes ? load_float(block + kv_key_scales_offset(head_dim) + 4 * slot) : 1.0f;
      const float value_scale =
          codes ? load_float(block + kv_value_scales_offset(head_dim) + 4 * slot) : 1.0f;
      for (int64_t d = 0; d < head_dim; ++d) {
        const int64_t at = to + head * head_dim + d;
        k[at] = read_element(type, block + kv_key_at(type, slot, d), key_scale);
        v[at] = read_element(type, values + kv_value_at(type, slot, d), value_scale);
      }
    }
  }
};

struct StateWriter {
  StateAttributes place;
  Kernel<KvWriteFunction> kernel;
  int64_t kv_heads;
  int64_t head_dim;
  const float* k;  // [T,K,h]
  const float* v;

  void operator()(const RunContext& context, int64_t row) const noexcept {
    const int32_t position = context.plan.positions[static_cast<size_t>(row)];
    const int32_t sequence = context.tables.row_sequences()[static_cast<size_t>(row)];
    const auto pages = context.plan.tables[static_cast<size_t>(place.group)].of(sequence);
    const int64_t page =
        pages[static_cast<size_t>(position / kPageTokens)] * context.state.page_stride(place.group);
    for (int64_t head = 0; head < kv_heads; ++head) {
      const int64_t at = (row * kv_heads + head) * head_dim;
      kernel.run(k + at, v + at, head_dim, position % kPageTokens,
                 context.state.block(place.group, place.layer, head) + page);
    }
  }
};

}  // namespace

std::unique_ptr<BoundStep> bind_state_write(const Binding& binding, const Node& node) {
  const Dims& dims = binding.program.type(node.operands[0]).dims;  // [T,K,h]
  const auto kernel = binding.kernels.kv_write[static_cast<size_t>(binding.kv_type)];
  const StateWriter write{std::get<StateAttributes>(node.attributes),
                          kernel,
                          dims[1].size,
                          dims[2].size,
                          binding.f32(node.operands[0]),
                          binding.f32(node.operands[1])};
  return make_row_step("state_write", kernel.name, {Symbol::rows, 1},
                       4 * dims[1].size * dims[2].size, write);
}

std::unique_ptr<BoundStep> bind_state_read(const Binding& binding, const Node& node) {
  const Dims& dims = binding.program.type(node.results[0]).dims;  // [S,C,K,h]
  const StateReader read{std::get<StateAttributes>(node.attributes),
                         binding.kv_type,
                         dims[2].size,
                         dims[3].size,
                         binding.f32(node.results[0]),
                         binding.f32(node.results[1]),
                         binding.i32(node.results[2])};
  return make_row_step("state_read", "state_read_scalar", {Symbol::sequences, 1},
                       binding.options.limits.context * dims[2].size * dims[3].size, read);
}

}  // namespace dunlin::cpu

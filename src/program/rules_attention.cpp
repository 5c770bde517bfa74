// Rules of attention and of the KV state.
#include "program/rules_detail.h"

namespace dunlin::rules {

namespace {

const KvGroup& expect_place(const RuleInput& in, int32_t group, int32_t layer) {
  if (group < 0 || static_cast<size_t>(group) >= in.kv_groups.size()) {
    fail("KV group {} of {}", group, in.kv_groups.size());
  }
  const KvGroup& found = in.kv_groups[static_cast<size_t>(group)];
  if (layer < 0 || layer >= found.layers) {
    fail("layer {} of KV group {} with {} layers", layer, group, found.layers);
  }
  return found;
}

// k and v [T,K,h], alike; returns k's dims.
Dims expect_keys_values(const RuleInput& in, size_t k, size_t v) {
  const Dims dims = expect(in, k, "k", DType::f32, 3);
  expect(in, v, "v", DType::f32, 3);
  expect_same(in, k, "k", v, "v");
  if (dims[0] != Symbol::rows) fail("k {} does not have the step's T rows", to_string(dims));
  return dims;
}

void expect_group_matches(const KvGroup& group, const Dims& k) {
  if (k[1] != group.kv_heads || k[2] != group.head_dim) {
    fail("k {} does not match its KV group of {} heads of width {}", to_string(k), group.kv_heads,
         group.head_dim);
  }
}

}  // namespace

ValueTypes attention(const RuleInput& in) {
  const auto& attributes = attributes_of<AttentionAttributes>(in);
  const size_t count = attributes.has_sinks ? 4 : 3;
  expect_operands(in, count, count);
  expect_finite("scale", attributes.scale);
  if (attributes.window < 0) fail("window {} is negative", attributes.window);
  if (!(attributes.softcap >= 0.0f) || !std::isfinite(attributes.softcap)) {
    fail("softcap {} is negative", attributes.softcap);
  }
  const Dims q = expect(in, 0, "q", DType::f32, 3);
  const Dims k = expect_keys_values(in, 1, 2);
  if (q[0] != k[0] || q[2] != k[2]) mismatch("q", q, "k", k);
  if (!q[1].known() || !k[1].known() || q[1].size % k[1].size != 0) {
    fail("the heads of q {} are not a multiple of those of k {}", to_string(q), to_string(k));
  }
  if (attributes.has_sinks) expect_vector(in, 3, "sinks", q[1]);
  if (attributes.stateful) {
    const KvGroup& group = expect_place(in, attributes.group, attributes.layer);
    expect_group_matches(group, k);
    if (group.window != attributes.window) {
      fail("window {} in a KV group with window {}", attributes.window, group.window);
    }
  }
  return {{DType::f32, q}};
}

ValueTypes state_write(const RuleInput& in) {
  const auto& state = attributes_of<StateAttributes>(in);
  expect_operands(in, 2, 2);
  const Dims k = expect_keys_values(in, 0, 1);
  expect_group_matches(expect_place(in, state.group, state.layer), k);
  return {};
}

ValueTypes state_read(const RuleInput& in) {
  const auto& state = attributes_of<StateAttributes>(in);
  expect_operands(in, 0, 0);
  const KvGroup& group = expect_place(in, state.group, state.layer);
  const Dims slots{Symbol::sequences, Symbol::slots, group.kv_heads, group.head_dim};
  return {
      {DType::f32, slots}, {DType::f32, slots}, {DType::i32, {Symbol::sequences, Symbol::slots}}};
}

}  // namespace dunlin::rules

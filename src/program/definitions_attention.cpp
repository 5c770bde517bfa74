// The definition of attention: softmax(q k^T scale + mask) v over slots of the state, or over the
// rows of the step. Query heads stay in their kv head's group, so keys are never repeated.
#include <limits>

#include "program/definitions_detail.h"

namespace dunlin::definitions {

namespace {

// What may be attended: S' sequences of C' slots. Without state, one "sequence" of the T rows.
struct Slots {
  Tensor k, v;                  // [S',C',K,h]
  Tensor positions, sequences;  // i32 [1,S',C']; a position below 0: the slot is empty
};

Slots slots_of_state(const Definition& it) {
  const auto& attributes = it.attributes<AttentionAttributes>();
  const StateAttributes state{attributes.group, attributes.layer};
  state_write(it.operands[1], it.operands[2], state);
  const StateSlots slots = state_read(it.recorder, state);
  const Tensor positions = with_axis(slots.positions, 0);
  return {slots.k, slots.v, positions, iota(it.recorder, positions.dims(), 1, DType::i32)};
}

Slots slots_of_rows(const Definition& it) {
  const Dims rows{1, 1, Symbol::rows};
  const Tensor k = with_axis(it.operands[1], 0);
  const Tensor v = with_axis(it.operands[2], 0);
  const Tensor positions = reshape(it.recorder.positions(), rows);
  return {k, v, positions, reshape(it.recorder.row_sequences(), rows)};
}

// boolean [T,S',C']: slots of the row's sequence that its position may see.
Tensor visible_slots(const Definition& it, const Slots& slots) {
  const auto& attributes = it.attributes<AttentionAttributes>();
  Dims dims = slots.positions.dims();
  dims[0] = Symbol::rows;
  const auto of_rows = [&](Tensor x) { return broadcast(reshape(x, {Symbol::rows, 1, 1}), dims); };
  const Tensor u = broadcast(slots.positions, dims);
  const Tensor t = of_rows(it.recorder.positions());
  const Tensor sequence = of_rows(it.recorder.row_sequences());
  Tensor visible = compare_to(sequence, slots.sequences, CompareKind::eq);
  const auto also = [&visible](Tensor condition) {
    visible = binary(visible, condition, BinaryKind::logical_and);
  };
  also(compare_to(u, 0.0, CompareKind::ge));
  if (attributes.mask == MaskKind::causal) also(compare(u, t, CompareKind::le));
  if (attributes.window > 0) {
    const Tensor oldest = plus(t, -static_cast<double>(attributes.window));
    also(compare(u, oldest, CompareKind::gt));
  }
  return visible;
}

// [K,T,G,S',C']: q k^T scale, softcapped, -infinity where masked.
Tensor masked_scores(const Definition& it, const Slots& slots) {
  const auto& attributes = it.attributes<AttentionAttributes>();
  const Dims q = it.operands[0].dims();
  const int64_t kv_heads = slots.k.dims()[2].size;
  const Tensor grouped = reshape(it.operands[0], {q[0], kv_heads, q[1].size / kv_heads, q[2]});
  Tensor scores = times(dot(grouped, slots.k, {{1}, {2}, {3}, {3}}), attributes.scale);
  if (attributes.softcap > 0.0f) scores = capped(scores, attributes.softcap);
  const Tensor visible = visible_slots(it, slots);
  const Dims seen = visible.dims();
  const Tensor mask = broadcast(reshape(visible, {1, seen[0], 1, seen[1], seen[2]}), scores.dims());
  return select(mask, scores, filled_like(scores, -std::numeric_limits<double>::infinity()));
}

Tensor add_slot_axes(Tensor x) {  // [K,T,G] -> [K,T,G,1,1]
  return with_axis(with_axis(x, 3), 3);
}

}  // namespace

Tensors attention(const Definition& it) {
  const bool stateful = it.attributes<AttentionAttributes>().stateful;
  const Slots slots = stateful ? slots_of_state(it) : slots_of_rows(it);
  const Tensor scores = masked_scores(it, slots);
  Tensor largest = maximum(maximum(scores, 4), 3);  // [K,T,G]
  Tensor sinks;
  if (it.attributes<AttentionAttributes>().has_sinks) {
    const Dims dims = largest.dims();
    sinks = broadcast(reshape(it.operands[3], {dims[0], 1, dims[2]}), dims);
    largest = binary(largest, sinks, BinaryKind::max);
  }
  const Tensor shifted = combine(scores, add_slot_axes(largest), BinaryKind::sub);
  const Tensor e = unary(shifted, UnaryKind::exp);
  Tensor denominator = sum(sum(e, 4), 3);
  if (sinks.defined()) {
    const Tensor sink = unary(binary(sinks, largest, BinaryKind::sub), UnaryKind::exp);
    denominator = add(denominator, sink);
  }
  const Tensor weighted = dot(e, slots.v, {{0}, {2}, {3, 4}, {0, 1}});  // [K,T,G,h]
  const Tensor y = combine(weighted, with_axis(denominator, 3), BinaryKind::div);
  return {reshape(transpose(y, {1, 0, 2, 3}), it.operands[0].dims())};
}

}  // namespace dunlin::definitions

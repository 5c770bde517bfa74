// `attention` over the KV arrays of a layer, or over the rows of the step (attention_rows.h).
#include "backend/pjrt/lower/attention_rows.h"
#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

// [n r,heads,h] -> [n,heads,r,h]
Var heads_first(Builder& b, const Var& x, int64_t sequences) {
  const Shape dims{sequences, x.dim(0) / sequences, x.dim(1), x.dim(2)};
  return b.transpose(b.reshape(x, dims), {0, 2, 1, 3});
}

Queries queries_of(const NodeLowering& it, const SegmentRows& segment) {
  Builder& b = it.b;
  const int64_t n = segment.shape.sequences;
  const int64_t r = segment.shape.rows_each;
  const Var q = it.operand(0);
  const int64_t kv_heads = it.operand(1).dim(1);
  const int64_t group = q.dim(1) / kv_heads;
  const Element element = kv_element(it.context.options.precision);
  const Var by_head = heads_first(b, b.convert(it.context.rows_of(q, segment), element), n);
  const auto& attributes = it.attributes<AttentionAttributes>();
  Queries queries;
  queries.head = q.dim(2);
  queries.q = b.reshape(by_head, {n, kv_heads, group * r, queries.head});
  if (attributes.stateful) {
    const LayerState& state = it.context.state(attributes.group, attributes.layer);
    const int64_t behind = state.keys().dim(3) - queries.head;
    if (behind > 0) queries.q = b.pad(queries.q, 3, 0, behind, 0.0);
  }
  queries.positions =
      b.reshape(it.context.rows_of(it.context.value_of(InputKind::positions), segment), {n, r});
  if (attributes.has_sinks) {
    const Var sinks = b.reshape(it.operand(3), {kv_heads, group});
    const Var repeated = b.broadcast(sinks, {n, kv_heads, group, r}, {1, 2});
    queries.sinks = b.reshape(repeated, {n, kv_heads, group * r});
  }
  return queries;
}

// Sequence i of n of the queries.
Queries sequence_of(Builder& b, const Queries& queries, int64_t i) {
  Queries one = queries;
  one.q = b.slice(queries.q, 0, i, i + 1);
  one.positions = b.slice(queries.positions, 0, i, i + 1);
  if (queries.sinks) one.sinks = b.slice(*queries.sinks, 0, i, i + 1);
  return one;
}

// Sequences [first, first + n) of the step, which lie in slots [0, n) or, n being 1, anywhere.
Places places_of_state(const NodeLowering& it, int64_t first, int64_t n, bool slot_order) {
  Builder& b = it.b;
  LoweringContext& context = it.context;
  const auto& attributes = it.attributes<AttentionAttributes>();
  const auto group = static_cast<size_t>(attributes.group);
  const LayerState& state = context.state(attributes.group, attributes.layer);
  const Var slot = slot_order ? b.scalar(0) : context.at(context.slots(), first);
  const Var positions = b.slice(context.place_positions(group), 0, first, first + n);
  Places places;
  places.count = context.bucket.read_positions(group);
  const Var longest = b.reduce(Reduction::max, b.slice(context.lengths(), 0, first, first + n), 0);
  places.used = b.minimum(longest, b.scalar(places.count));
  places.by_position = context.program.kv_groups[group].window == 0;
  places.tile = [&b, state, slot, positions, n](const Var& start, int64_t size) {
    const Var zero = b.scalar(0);
    const Shape dims{n, state.keys().dim(1), size, state.keys().dim(3)};
    const Vars from = {slot, zero, start, zero};
    const Var keys = b.dynamic_slice(state.keys(), from, dims);
    const Var values = state.together() ? keys : b.dynamic_slice(state.values(), from, dims);
    return Tile{keys, values, b.dynamic_slice(positions, {zero, start}, {n, size})};
  };
  return places;
}

// Without state: the rows of the same sequence, padding excepted.
Places places_of_rows(const NodeLowering& it, const SegmentRows& segment) {
  Builder& b = it.b;
  LoweringContext& context = it.context;
  const int64_t n = segment.shape.sequences;
  const int64_t r = segment.shape.rows_each;
  const Element element = kv_element(context.options.precision);
  const Var keys = heads_first(b, b.convert(context.rows_of(it.operand(1), segment), element), n);
  const Var values = heads_first(b, b.convert(context.rows_of(it.operand(2), segment), element), n);
  const Shape grid{n, r};
  const Var counts =
      b.slice(context.row_counts(), 0, segment.first_sequence, segment.first_sequence + n);
  const Var real = b.compare("LT", b.iota({Element::i32, grid}, 1), b.broadcast(counts, grid, {0}));
  const Var rows =
      b.reshape(context.rows_of(context.value_of(InputKind::positions), segment), grid);
  const Var positions = b.select(real, rows, b.filled_like(rows, -1.0));
  Places places;
  places.count = r;
  places.used = b.reduce(Reduction::max, counts, 0);
  places.tile = [&b, keys, values, positions](const Var& start, int64_t size) {
    const Var zero = b.scalar(0);
    const Shape dims{keys.dim(0), keys.dim(1), size, keys.dim(3)};
    const Vars from = {zero, zero, start, zero};
    return Tile{b.dynamic_slice(keys, from, dims), b.dynamic_slice(values, from, dims),
                b.dynamic_slice(positions, {zero, start}, {keys.dim(0), size})};
  };
  return places;
}

// [n,K,M,h] of each sequence of the segment.
Var attend_segment(const NodeLowering& it, const SegmentRows& segment) {
  const auto& attributes = it.attributes<AttentionAttributes>();
  const Queries queries = queries_of(it, segment);
  const int64_t n = segment.shape.sequences;
  if (!attributes.stateful) return attend(it.b, attributes, queries, places_of_rows(it, segment));
  if (segment.shape.slot_order) {
    const Places places = places_of_state(it, segment.first_sequence, n, true);
    return attend(it.b, attributes, queries, places);
  }
  Vars parts;
  for (int64_t i = 0; i < n; ++i) {
    const Places places = places_of_state(it, segment.first_sequence + i, 1, false);
    parts.push_back(attend(it.b, attributes, sequence_of(it.b, queries, i), places));
  }
  return it.b.concatenate(parts, 0);
}

}  // namespace

// definitions::attention: with state, the step's keys and values are written first, then every
// visible place of the row's sequence is attended.
Vars lower_attention(const NodeLowering& it) {
  const auto& attributes = it.attributes<AttentionAttributes>();
  if (attributes.stateful) {
    write_state(it.context, {attributes.group, attributes.layer}, it.operand(1), it.operand(2));
  }
  const TensorType type = it.result_type();  // [T,H,h]
  Vars parts;
  for (const SegmentRows& segment : it.context.segments()) {
    const int64_t n = segment.shape.sequences;
    const int64_t r = segment.shape.rows_each;
    const Var y = attend_segment(it, segment);
    const Var by_row =
        it.b.transpose(it.b.reshape(y, {n, type.dims[1], r, type.dims[2]}), {0, 2, 1, 3});
    parts.push_back(it.b.reshape(by_row, {n * r, type.dims[1], type.dims[2]}));
  }
  return {it.b.concatenate(parts, 0)};
}

}  // namespace dunlin::pjrt

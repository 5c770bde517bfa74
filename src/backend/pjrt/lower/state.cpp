// Writes and reads of the KV arrays.
//
// Position p of the sequence in slot s lies at [s, :, p mod P, :] of an array [slots,K,P,h], or with
// 2h of one that has keys and values. Arrays are donated and written by dynamic_update_slice, which
// XLA does in place; a scatter would be a slow loop on a TPU (openxla/xla issue 12982).
#include <algorithm>

#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

// Where the rows of one sequence go.
struct Target {
  Var slot;       // i32
  Var position;   // i32: of the first row
  Var positions;  // i32 [r]: of each row
  Var count;      // i32: rows that are no padding
  bool wraps;     // the positions may go around the end of the array
};

// rows[j - shift] at j, for a shift within [-r, r]; what is shifted in is not used. rows [K,r,h].
Var shifted(Builder& b, const Var& rows, const Var& shift) {
  const int64_t r = rows.dim(1);
  const Var padded = b.pad(rows, 1, r, r, 0.0);
  const Var start = b.subtract(b.scalar(r), shift);
  return b.dynamic_slice(padded, {b.scalar(0), start, b.scalar(0)}, rows.type.dims);
}

// Writes the rows that fall into places [start, start + r) and leaves what else is there.
// `first` is the place of row 0, which may lie outside.
Var write_block(Builder& b, const Var& array, const Var& rows, const Target& to, const Var& start,
                const Var& first) {
  const int64_t r = rows.dim(1);
  const Shape block{1, rows.dim(0), r, rows.dim(2)};
  const Vars place = {to.slot, b.scalar(0), start, b.scalar(0)};
  const Var shift = b.subtract(first, start);
  const Var number = b.subtract(b.iota({Element::i32, {r}}, 0), b.broadcast(shift, {r}, {}));
  const Var inside = b.both(b.compare("GE", number, b.filled_like(number, 0.0)),
                            b.compare("LT", number, b.broadcast(to.count, {r}, {})));
  const Var fresh = shifted(b, rows, shift);
  const Var old = b.dynamic_slice(array, place, block);
  const Var mixed = b.select(b.broadcast(inside, block, {2}), b.reshape(fresh, block), old);
  return b.dynamic_update_slice(array, mixed, place);
}

// One row, with the page of places that it falls into. Where a program reads single places, libtpu lays
// the heads of a place beside each other ({3,1,2,0}) and copies the array into that layout and back.
Var write_row(Builder& b, const Var& array, const Var& rows, const Target& to, const Var& place) {
  const Shape page{1, rows.dim(0), kPageTokens, rows.dim(2)};
  const Var size = b.scalar(kPageTokens);
  const Var start = b.multiply(b.divide(place, size), size);
  const Vars at = {to.slot, b.scalar(0), start, b.scalar(0)};
  const Var number = b.iota({Element::i32, {kPageTokens}}, 0);
  const auto everywhere = [&](const Var& x) { return b.broadcast(x, number.type.dims, {}); };
  const Var here = b.both(b.compare("EQ", number, everywhere(b.subtract(place, start))),
                          b.compare("GT", everywhere(to.count), b.filled_like(number, 0.0)));
  const Var row = b.broadcast(b.reshape(rows, {rows.dim(0), rows.dim(2)}), page, {1, 3});
  const Var old = b.dynamic_slice(array, at, page);
  return b.dynamic_update_slice(array, b.select(b.broadcast(here, page, {2}), row, old), at);
}

// Rows at consecutive positions: one block, and a second where they go around the end.
Var write_consecutive(Builder& b, const Var& array, const Var& rows, const Target& to) {
  const int64_t r = rows.dim(1);
  const int64_t places = array.dim(2);
  const Var first = to.wraps ? b.binary("remainder", to.position, b.scalar(places)) : to.position;
  if (r == 1) return write_row(b, array, rows, to, first);
  const Var start = b.minimum(first, b.scalar(places - r));
  const Var written = write_block(b, array, rows, to, start, first);
  if (!to.wraps) return written;
  // Row 0 lies `places - first` before the beginning, or too far for any row to reach it.
  const Var before = b.maximum(b.subtract(first, b.scalar(places)), b.scalar(-r));
  return write_block(b, written, rows, to, b.scalar(0), before);
}

// Rows anywhere: one after the other.
Var write_scattered(Builder& b, const Var& array, const Var& rows, const Target& to) {
  const Shape one{1, rows.dim(0), 1, rows.dim(2)};
  const auto body = [&](const Var& number, const Vars& carried) {
    const Var zero = b.scalar(0);
    const Var row = b.dynamic_slice(rows, {zero, number, zero}, {rows.dim(0), 1, rows.dim(2)});
    const Var position = b.reshape(b.dynamic_slice(to.positions, {number}, {1}), {});
    const Var place = b.binary("remainder", position, b.scalar(array.dim(2)));
    return Vars{
        b.dynamic_update_slice(carried[0], b.reshape(row, one), {to.slot, zero, place, zero})};
  };
  return b.counted_loop(to.count, {array}, body).front();
}

Var write_segment(LoweringContext& context, const SegmentRows& segment, const Var& x,
                  const Var& array, bool wraps) {
  Builder& b = context.b;
  const int64_t r = segment.shape.rows_each;
  const Var converted = b.convert(context.rows_of(x, segment), array.type.element);
  const Var positions = context.rows_of(context.value_of(InputKind::positions), segment);
  Var written = array;
  for (int64_t i = 0; i < segment.shape.sequences; ++i) {
    const int64_t sequence = segment.first_sequence + i;
    const Var rows = b.transpose(b.slice(converted, 0, i * r, (i + 1) * r), {1, 0, 2});
    const Target to{segment.shape.slot_order ? b.scalar(i) : context.at(context.slots(), sequence),
                    context.at(positions, i * r), b.slice(positions, 0, i * r, (i + 1) * r),
                    context.at(context.row_counts(), sequence), wraps};
    written = context.bucket.consecutive ? write_consecutive(b, written, rows, to)
                                         : write_scattered(b, written, rows, to);
  }
  return written;
}

}  // namespace

void write_state(LoweringContext& context, const StateAttributes& place, const Var& keys,
                 const Var& values) {
  LayerState& state = context.state(place.group, place.layer);
  const bool wraps = context.program.kv_groups[static_cast<size_t>(place.group)].window > 0;
  Vars rows = {keys, values};
  if (state.together()) rows = {context.b.concatenate(rows, 2)};
  for (const SegmentRows& segment : context.segments()) {
    for (size_t i = 0; i < rows.size(); ++i)
      state.arrays[i] = write_segment(context, segment, rows[i], state.arrays[i], wraps);
  }
}

// k and v [S,C,K,h] by position, zero where a position is absent, and positions [S,C] or -1.
Vars lower_state_read(const NodeLowering& it) {
  Builder& b = it.b;
  const auto& attributes = it.attributes<StateAttributes>();
  const auto group = static_cast<size_t>(attributes.group);
  const LayerState& state = it.context.state(attributes.group, attributes.layer);
  const TensorType type = it.result_type();  // [S,C,K,h]
  const int64_t slots = type.dims[1];
  const Var wanted = b.iota({Element::i32, {slots}}, 0);
  const auto at_place = [&](int64_t places) {
    return b.binary("remainder", wanted, b.filled_like(wanted, static_cast<double>(places)));
  };
  // A place that was read holds the wanted position, or an older or newer one of the ring.
  const int64_t read = it.context.bucket.read_positions(group);
  const Var held = b.gather(it.context.place_positions(group), at_place(read), 1);  // [S,C]
  const Var present = b.compare("EQ", held, b.broadcast(wanted, held.type.dims, {1}));
  const Var positions = b.select(present, held, b.filled_like(held, -1.0));
  const auto rows_of = [&](const Var& array) {
    const Var of_sequences = b.gather(array, it.context.slots(), 0);  // [S,K,P,width]
    const Var by_position = b.gather(of_sequences, at_place(array.dim(2)), 2);
    return b.convert(b.transpose(by_position, {0, 2, 1, 3}), Element::f32);
  };
  const Var keys = rows_of(state.keys());
  const Var values = state.together() ? keys : rows_of(state.values());
  const int64_t head = type.dims[3];
  const int64_t width = values.dim(3);
  Vars results;
  for (const Var& rows : {b.slice(keys, 3, 0, head), b.slice(values, 3, width - head, width)}) {
    results.push_back(
        b.select(b.broadcast(present, type.dims, {0, 1}), rows, b.filled_like(rows, 0.0)));
  }
  results.push_back(positions);
  return results;
}

}  // namespace dunlin::pjrt

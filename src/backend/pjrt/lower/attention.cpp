// `attention` over the KV arrays of a layer, or over the rows of the step.
//
// Few rows (decode, drafts, a diffusion block): the scores of all places at once. Many rows (a
// prompt): tiles of places with a running maximum and sum, "Online normalizer calculation for
// softmax" (Milakov and Gimelshein, 2018), so that memory does not grow with rows times places.
// Query heads stay in their kv head's group: keys and values are never repeated.
// n sequences, r rows of each, K kv heads, G query heads of a kv head, M = G r, c places, h width,
// w width of a row of the cache: h, or 2h where a value lies behind its key. Such rows are multiplied
// whole, queries having zeros where values are: a slice of them could become an array of its own.
#include <algorithm>
#include <functional>
#include <limits>
#include <optional>

#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kMostDirectRows = 32;
constexpr int64_t kTilePlaces = 512;
// Stands for a maximum over nothing: finite, so that differences of it are numbers.
constexpr double kLowest = std::numeric_limits<float>::lowest();

struct Tile {
  Var keys, values;  // [n,K,c,w]: keys in the first h, values in the last
  Var positions;     // i32 [n,c], -1 where nothing is
};

// The places that a segment's rows may attend.
struct Places {
  int64_t count = 0;
  Var used;  // i32: places from here on are empty
  std::function<Tile(const Var& start, int64_t size)> tile;
};

struct Queries {
  Var q;                          // [n,K,M,w]
  int64_t head = 0;               // h
  Var positions;                  // i32 [n,r]
  std::optional<Var> sinks = {};  // f32 [n,K,M]
};

class Attention {
 public:
  explicit Attention(const NodeLowering& it)
      : b_(it.b),
        attributes_(it.attributes<AttentionAttributes>()),
        element_(kv_element(it.context.options.precision)) {}

  // [n,K,M,h]
  Var attend(const Queries& queries, const Places& places) const {
    const bool direct = queries.positions.dim(1) <= kMostDirectRows || places.count <= kTilePlaces;
    return direct ? attend_at_once(queries, places) : attend_in_tiles(queries, places);
  }

 private:
  // f32 [n,K,M,c]: scaled and softcapped scores, -infinity where the row may not see the place.
  Var masked_scores(const Queries& queries, const Tile& tile) const {
    Var scores =
        b_.times(b_.dot(queries.q, tile.keys, {{0, 1}, {0, 1}, {3}, {3}}), attributes_.scale);
    if (attributes_.softcap > 0.0f) {
      const Var capped = b_.unary("tanh", b_.times(scores, 1.0 / attributes_.softcap));
      scores = b_.times(capped, attributes_.softcap);
    }
    const Var seen = visible(queries, tile);  // [n,r,c]
    const Shape grouped{scores.dim(0), scores.dim(1), scores.dim(2) / seen.dim(1), seen.dim(1),
                        scores.dim(3)};
    const Var mask = b_.reshape(b_.broadcast(seen, grouped, {0, 3, 4}), scores.type.dims);
    return b_.select(mask, scores,
                     b_.filled_like(scores, -std::numeric_limits<double>::infinity()));
  }

  // i1 [n,r,c]. Positions decide, not the order of places.
  Var visible(const Queries& queries, const Tile& tile) const {
    const Shape grid{tile.positions.dim(0), queries.positions.dim(1), tile.positions.dim(1)};
    const Var u = b_.broadcast(tile.positions, grid, {0, 2});
    const Var t = b_.broadcast(queries.positions, grid, {0, 1});
    Var seen = b_.compare("GE", u, b_.filled_like(u, 0.0));
    if (attributes_.mask == MaskKind::causal) seen = b_.both(seen, b_.compare("LE", u, t));
    if (attributes_.window > 0) {
      const Var oldest = b_.plus(t, -static_cast<double>(attributes_.window));
      seen = b_.both(seen, b_.compare("GT", u, oldest));
    }
    return seen;
  }

  // [n,K,M,h]. Softmax in float32; probabilities are rounded to the storage type before they weigh
  // values.
  Var weighted(const Var& p, const Var& values, int64_t head) const {
    const Var rows = b_.dot(b_.convert(p, element_), values, {{0, 1}, {0, 1}, {3}, {2}});
    return b_.slice(rows, 3, rows.dim(3) - head, rows.dim(3));
  }

  Var per_row(const Var& x, const Shape& dims) const { return b_.broadcast(x, dims, {0, 1, 2}); }

  // o / l; a row that saw nothing, which is padding, gives zero.
  Var normalised(const Var& o, const Var& l) const {
    const Var none = b_.compare("EQ", l, b_.filled_like(l, 0.0));
    const Var divisor = b_.select(none, b_.filled_like(l, 1.0), l);
    return b_.divide(o, per_row(divisor, o.type.dims));
  }

  Var attend_at_once(const Queries& queries, const Places& places) const {
    const Tile tile = places.tile(b_.scalar(0), places.count);
    const Var scores = masked_scores(queries, tile);
    Var m = b_.reduce(Reduction::max, scores, 3);
    m = b_.maximum(m, queries.sinks ? *queries.sinks : b_.filled_like(m, kLowest));
    const Var p = b_.unary("exponential", b_.subtract(scores, per_row(m, scores.type.dims)));
    Var l = b_.reduce(Reduction::sum, p, 3);
    if (queries.sinks) {
      l = b_.add(l, b_.unary("exponential", b_.subtract(*queries.sinks, m)));
    }
    return normalised(weighted(p, tile.values, queries.head), l);
  }

  // Carries the maximum m, the sum l and the weighted values o; a sink z starts with m = z, l = 1.
  Var attend_in_tiles(const Queries& queries, const Places& places) const {
    const Shape rows{queries.q.dim(0), queries.q.dim(1), queries.q.dim(2)};
    const Var m = queries.sinks ? *queries.sinks : b_.constant({Element::f32, rows}, kLowest);
    const Var l = b_.constant({Element::f32, rows}, queries.sinks ? 1.0 : 0.0);
    const Var o = b_.constant({Element::f32, {rows[0], rows[1], rows[2], queries.head}}, 0.0);
    const int64_t size = std::min(places.count, kTilePlaces);
    const Var tiles =
        b_.divide(b_.plus(places.used, static_cast<double>(size - 1)), b_.scalar(size));
    const auto body = [&](const Var& number, const Vars& carried) {
      const Var begin = b_.multiply(number, b_.scalar(size));
      return add_tile(queries, tile_at(places, begin, size), carried);
    };
    const Vars sums = b_.counted_loop(tiles, {m, l, o}, body);
    return normalised(sums[2], sums[1]);
  }

  // Places [begin, begin + size). The last tile reaches back where the places end: what an earlier
  // tile had is empty in it.
  Tile tile_at(const Places& places, const Var& begin, int64_t size) const {
    if (places.count % size == 0) return places.tile(begin, size);
    const Var start = b_.minimum(begin, b_.scalar(places.count - size));
    Tile tile = places.tile(start, size);
    const Shape grid = tile.positions.type.dims;
    const Var place = b_.add(b_.iota({Element::i32, grid}, 1), b_.broadcast(start, grid, {}));
    const Var fresh = b_.compare("GE", place, b_.broadcast(begin, grid, {}));
    tile.positions = b_.select(fresh, tile.positions, b_.filled_like(tile.positions, -1.0));
    return tile;
  }

  Vars add_tile(const Queries& queries, const Tile& tile, const Vars& carried) const {
    const Var scores = masked_scores(queries, tile);
    const Var m = b_.maximum(carried[0], b_.reduce(Reduction::max, scores, 3));
    const Var p = b_.unary("exponential", b_.subtract(scores, per_row(m, scores.type.dims)));
    const Var before = b_.unary("exponential", b_.subtract(carried[0], m));
    const Var l = b_.add(b_.multiply(carried[1], before), b_.reduce(Reduction::sum, p, 3));
    const Var scaled = b_.multiply(carried[2], per_row(before, carried[2].type.dims));
    return {m, l, b_.add(scaled, weighted(p, tile.values, queries.head))};
  }

  Builder& b_;
  const AttentionAttributes& attributes_;
  Element element_;
};

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
  const Attention attention(it);
  const Queries queries = queries_of(it, segment);
  const int64_t n = segment.shape.sequences;
  if (!it.attributes<AttentionAttributes>().stateful) {
    return attention.attend(queries, places_of_rows(it, segment));
  }
  if (segment.shape.slot_order) {
    return attention.attend(queries, places_of_state(it, segment.first_sequence, n, true));
  }
  Vars parts;
  for (int64_t i = 0; i < n; ++i) {
    const Places places = places_of_state(it, segment.first_sequence + i, 1, false);
    parts.push_back(attention.attend(sequence_of(it.b, queries, i), places));
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

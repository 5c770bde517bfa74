// Few rows (decode, drafts, a diffusion block): the scores of all places at once. Many rows (a
// prompt): tiles of places with a running maximum and sum, "Online normalizer calculation for
// softmax" (Milakov and Gimelshein, 2018), so that memory does not grow with rows times places; and
// where there are more rows than that, blocks of rows, each over the places that one of them may see,
// so that scores are as small whatever the rows.
// Query heads stay in their kv head's group: keys and values are never repeated. Rows of keys beside
// values are multiplied whole, queries having zeros where values are: a slice of them could become an
// array of its own.
#include "backend/pjrt/lower/attention_rows.h"

#include <algorithm>
#include <limits>

namespace dunlin::pjrt {
namespace {

constexpr int64_t kMostDirectRows = 32;
constexpr int64_t kTilePlaces = 512;
constexpr int64_t kBlockOfRows = 512;
// Stands for a maximum over nothing: finite, so that differences of it are numbers.
constexpr double kLowest = std::numeric_limits<float>::lowest();

class Attention {
 public:
  // `element`: of keys, values and queries.
  Attention(Builder& b, const AttentionAttributes& attributes, Element element)
      : b_(b), attributes_(attributes), element_(element) {}

  // [n,K,M,h]
  Var attend(const Queries& queries, const Places& places) const {
    const int64_t rows = queries.positions.dim(1);
    if (rows <= kMostDirectRows || places.count <= kTilePlaces)
      return attend_at_once(queries, places);
    return rows <= kBlockOfRows ? attend_in_tiles(queries, places)
                                : attend_in_blocks(queries, places);
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

  // The last block reaches back over rows that the one before it made, to the same values.
  Var attend_in_blocks(const Queries& queries, const Places& places) const {
    const Shape& q = queries.q.type.dims;  // [n,K,M,w]
    const int64_t rows = queries.positions.dim(1);
    const int64_t group = q[2] / rows;
    const Var zero = b_.scalar(0);
    const Var result = b_.constant({Element::f32, {q[0], q[1], group, rows, queries.head}}, 0.0);
    const auto body = [&](const Var& number, const Vars& carried) {
      const Var begin = b_.multiply(number, b_.scalar(kBlockOfRows));
      const Var first = b_.minimum(begin, b_.scalar(rows - kBlockOfRows));
      const Queries block = block_of(queries, first);
      const Var made = attend_in_tiles(block, seen_by(block, places));
      const Shape dims{q[0], q[1], group, kBlockOfRows, queries.head};
      return Vars{b_.dynamic_update_slice(carried[0], b_.reshape(made, dims),
                                          {zero, zero, zero, first, zero})};
    };
    const Var count = b_.scalar((rows + kBlockOfRows - 1) / kBlockOfRows);
    const Var blocks = b_.counted_loop(count, {result}, body).front();
    return b_.reshape(blocks, {q[0], q[1], q[2], queries.head});
  }

  // Rows [first, first + kBlockOfRows) of each query head.
  Queries block_of(const Queries& queries, const Var& first) const {
    const Shape& q = queries.q.type.dims;
    const int64_t rows = queries.positions.dim(1);
    const int64_t group = q[2] / rows;
    const Var zero = b_.scalar(0);
    const Var by_row = b_.reshape(queries.q, {q[0], q[1], group, rows, q[3]});
    const Var some = b_.dynamic_slice(by_row, {zero, zero, zero, first, zero},
                                      {q[0], q[1], group, kBlockOfRows, q[3]});
    Queries block;
    block.head = queries.head;
    block.q = b_.reshape(some, {q[0], q[1], group * kBlockOfRows, q[3]});
    block.positions = b_.dynamic_slice(queries.positions, {zero, first}, {q[0], kBlockOfRows});
    if (queries.sinks) {
      const Var sinks = b_.reshape(*queries.sinks, {q[0], q[1], group, rows});
      const Var of_block =
          b_.dynamic_slice(sinks, {zero, zero, zero, first}, {q[0], q[1], group, kBlockOfRows});
      block.sinks = b_.reshape(of_block, {q[0], q[1], group * kBlockOfRows});
    }
    return block;
  }

  // Without the places behind the last row of the block, where rows do not look ahead.
  Places seen_by(const Queries& block, const Places& places) const {
    Places seen = places;
    if (attributes_.mask != MaskKind::causal || !places.by_position) return seen;
    const Var last = b_.reduce(Reduction::max, b_.reduce(Reduction::max, block.positions, 1), 0);
    seen.used = b_.minimum(places.used, b_.plus(last, 1.0));
    return seen;
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

}  // namespace

Var attend(Builder& b, const AttentionAttributes& attributes, const Queries& queries,
           const Places& places) {
  return Attention(b, attributes, queries.q.type.element).attend(queries, places);
}

}  // namespace dunlin::pjrt

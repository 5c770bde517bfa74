// `embed` and `linear`: the operations that read a weight matrix in its own element type.
#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {

// Sums over the last dimension of both, in float32 (docs/decisions/0002-numerics.md: the order of
// the sum is the plug-in's).
Var project(Builder& b, const Var& x, const Var& w) {
  return b.dot(b.convert(x, w.type.element), w,
               {.contract_left = {x.rank() - 1}, .contract_right = {1}});
}

namespace {

// Rows of a table that is split by rows: each device looks for the ids that it has, and the sum of
// what they found is the row. Other devices' ids read some row, which does not count.
Var rows_of_parts(const NodeLowering& it, const Var& w, const std::vector<MeshAxis>& axes) {
  Builder& b = it.b;
  const Var ids = it.operand(0);
  const Var first = b.multiply(it.context.place(axes), b.scalar(w.dim(0)));
  const Var own = b.subtract(ids, b.broadcast(first, ids.type.dims, {}));
  const Var above = b.compare("GE", own, b.filled_like(own, 0.0));
  const Var below = b.compare("LT", own, b.filled_like(own, static_cast<double>(w.dim(0))));
  const Var rows = b.convert(b.gather(w, own, 0), Element::f32);
  const Var found = b.broadcast(b.both(above, below), rows.type.dims, {0});
  return it.context.sum_over(b.select(found, rows, b.filled_like(rows, 0.0)), axes);
}

}  // namespace

// definitions::embed: w[id] * scale. Rows are read as stored, then converted.
Vars lower_embed(const NodeLowering& it) {
  const ValueId table = it.node.operands[1];
  const Var w = it.context.weight(table, table_element(it.context.format_of(table)));
  const std::vector<MeshAxis> axes = it.context.axes_of(it.node, 1, 0);
  const Var rows = axes.empty() ? it.b.convert(it.b.gather(w, it.operand(0), 0), Element::f32)
                                : rows_of_parts(it, w, axes);
  const float scale = it.attributes<EmbedAttributes>().scale;
  return {scale == 1.0f ? rows : it.b.times(rows, scale)};
}

// definitions::linear: x w^T + b, x rounded to the weight's element type. Where a mesh splits what is
// summed over, the devices' sums are added before the bias.
Vars lower_linear(const NodeLowering& it) {
  const ValueId matrix = it.node.operands[1];
  const Element element =
      matrix_element(it.context.format_of(matrix), it.context.options.precision);
  Var y = project(it.b, it.operand(0), it.context.weight(matrix, element));
  y = it.context.sum_over(y, it.context.axes_of(it.node, 1, 1));
  if (it.has(2)) y = it.b.add(y, it.b.broadcast_trailing(it.operand(2), y.type.dims));
  return {y};
}

}  // namespace dunlin::pjrt

// `embed` and `linear`: the operations that read a weight matrix in its own element type.
#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {

// Sums over the last dimension of both, in float32 (docs/decisions/0002-numerics.md: the order of
// the sum is the plug-in's).
Var project(Builder& b, const Var& x, const Var& w) {
  return b.dot(b.convert(x, w.type.element), w,
               {.contract_left = {x.rank() - 1}, .contract_right = {1}});
}

// definitions::embed: w[id] * scale. Rows are read as stored, then converted.
Vars lower_embed(const NodeLowering& it) {
  const ValueId table = it.node.operands[1];
  const Var w = it.context.weight(table, table_element(it.context.format_of(table)));
  const Var rows = it.b.convert(it.b.gather(w, it.operand(0), 0), Element::f32);
  const float scale = it.attributes<EmbedAttributes>().scale;
  return {scale == 1.0f ? rows : it.b.times(rows, scale)};
}

// definitions::linear: x w^T + b, x rounded to the weight's element type.
Vars lower_linear(const NodeLowering& it) {
  const ValueId matrix = it.node.operands[1];
  const Element element =
      matrix_element(it.context.format_of(matrix), it.context.options.precision);
  Var y = project(it.b, it.operand(0), it.context.weight(matrix, element));
  if (it.has(2)) y = it.b.add(y, it.b.broadcast_trailing(it.operand(2), y.type.dims));
  return {y};
}

}  // namespace dunlin::pjrt

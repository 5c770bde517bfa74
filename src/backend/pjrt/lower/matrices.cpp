// `embed` and `linear`: the operations that read a weight matrix in a form of its own.
#include "backend/pjrt/lower/context.h"

namespace dunlin::pjrt {
namespace {

// Rows of a table that is split by rows: each device looks for the ids that it has, and the sum of
// what they found is the row. Other devices' ids read some row, which does not count.
Var rows_of_parts(const NodeLowering& it, const DeviceWeight& w, const std::vector<MeshAxis>& axes,
                  TableReads reads) {
  Builder& b = it.b;
  const Var ids = it.operand(0);
  const int64_t count = w.codes.dim(0);
  const Var first = b.multiply(it.context.place(axes), b.scalar(count));
  const Var own = b.subtract(ids, b.broadcast(first, ids.type.dims, {}));
  const Var above = b.compare("GE", own, b.filled_like(own, 0.0));
  const Var below = b.compare("LT", own, b.filled_like(own, static_cast<double>(count)));
  const Var rows = table_rows(b, w, own, reads);
  const Var found = b.broadcast(b.both(above, below), rows.type.dims, {0});
  return it.context.sum_over(b.select(found, rows, b.filled_like(rows, 0.0)), axes);
}

}  // namespace

// definitions::embed: w[id] * scale. Rows are read as stored, then converted.
Vars lower_embed(const NodeLowering& it) {
  const ValueId table = it.node.operands[1];
  const DeviceWeight& w = it.context.weight(table, table_form(it.context.format_of(table)));
  const std::vector<MeshAxis> axes = it.context.axes_of(it.node, 1, 0);
  const TableReads reads = table_reads(it.context.options.platform, w);
  const Var rows =
      axes.empty() ? table_rows(it.b, w, it.operand(0), reads) : rows_of_parts(it, w, axes, reads);
  const float scale = it.attributes<EmbedAttributes>().scale;
  return {scale == 1.0f ? rows : it.b.times(rows, scale)};
}

// definitions::linear: x w^T + b, x rounded to the type that is multiplied in. Where a mesh splits what
// is summed over, the devices' sums are added before the bias.
Vars lower_linear(const NodeLowering& it) {
  const ProductForm form = product_form(it.context.options);
  Var y = project(it.b, it.operand(0), it.context.matrix(it.node.operands[1]), form);
  y = it.context.sum_over(y, it.context.axes_of(it.node, 1, 1));
  if (it.has(2)) y = it.b.add(y, it.b.broadcast_trailing(it.operand(2), y.type.dims));
  return {y};
}

}  // namespace dunlin::pjrt

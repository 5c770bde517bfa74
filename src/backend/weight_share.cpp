#include "backend/weight_share.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "backend/weight_shape.h"
#include "program/sharding.h"

namespace dunlin {
namespace {

// Columns that stay together: those of a block of the format, or those that share one of several
// scales of their row.
int64_t column_unit(const WeightView& view) {
  const RowForm form = view.row_form();
  const int64_t block = traits(view.format).block_elements;
  return form.scales() > 1 ? std::lcm(block, form.scale_columns) : block;
}

// A column inside a block where a run begins or ends, if there is one. The last block of `whole`
// columns may be short.
std::optional<int64_t> cut_column(const IndexRuns& columns, int64_t block, int64_t whole) {
  for (const IndexRun& run : columns.runs) {
    const int64_t end = run.begin + run.count;
    if (run.begin % block != 0) return run.begin;
    if (end % block != 0 && end != whole) return end;
    if (run.at % block != 0) return run.begin;
  }
  return std::nullopt;
}

Error cuts_block(const WeightView& view, const Sharding& sharding, int64_t block, int64_t column) {
  return usage_error(fmt::format(
      "mesh {}: {} is stored as {} in blocks of {} columns, and the part of a device would begin "
      "or "
      "end at column {}, inside block {}; take a mesh with fewer parts there, or a format with "
      "smaller blocks",
      to_string(sharding.shape), view.name, traits(view.format).name, block, column,
      column / block));
}

}  // namespace

Result<Sharding> shard_weights(const Program& program, const WeightSource& weights,
                               const MeshShape& shape) {
  Sharding sharding{.shape = shape};
  DUNLIN_ASSIGN_OR_RETURN(sharding.mesh, device_mesh(program, shape));
  for (const WeightDeclaration& weight : program.weights) {
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, weights(weight.name));
    DUNLIN_RETURN_IF_ERROR(check_shape(weight, view));
    const bool along_ffn = std::ranges::any_of(
        weight.dims.back(), [](const AxisSize& axis) { return axis.axis == Axis::ffn; });
    if (!along_ffn) continue;
    sharding.ffn_unit = std::lcm(sharding.ffn_unit, column_unit(view));
    // Blocks of formats are powers of two, but scales may serve any number of columns.
    if (sharding.ffn_unit > view.columns) {
      return usage_error(fmt::format(
          "mesh {}: {} and the weights before it have blocks whose borders meet nowhere "
          "in {} columns",
          to_string(shape), view.name, view.columns));
    }
  }
  return sharding;
}

Result<WeightBox> weight_share(const WeightDeclaration& declaration, const WeightView& view,
                               const Sharding& sharding, const Coordinates& place) {
  AxisList rows;
  for (size_t i = 0; i + 1 < declaration.dims.size(); ++i)
    rows.insert(rows.end(), declaration.dims[i].begin(), declaration.dims[i].end());
  WeightBox share{.rows = dimension_share(sharding, place, rows),
                  .columns = dimension_share(sharding, place, declaration.dims.back())};
  const int64_t block = traits(view.format).block_elements;
  auto cut = cut_column(share.columns, block, view.columns);
  if (!cut && share.columns.extent % block != 0) cut = share.columns.extent;
  if (cut) return cuts_block(view, sharding, block, *cut);
  const RowForm form = view.row_form();
  if (form.scales() <= 1) return share;
  cut = cut_column(share.columns, form.scale_columns, view.columns);
  if (cut) return cuts_block(view, sharding, form.scale_columns, *cut);
  return share;
}

}  // namespace dunlin

#include "backend/weight_share.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backend/weight_shape.h"
#include "program/sharding.h"

namespace dunlin {
namespace {

// A column inside a block where a run or the whole part begins or ends, if there is one.
std::optional<int64_t> cut_column(const IndexRuns& columns, int64_t block) {
  for (const IndexRun& run : columns.runs) {
    if (run.begin % block != 0) return run.begin;
    if (run.count % block != 0) return run.begin + run.count;
    if (run.at % block != 0) return run.begin;
  }
  if (columns.extent % block != 0) return columns.extent;
  return std::nullopt;
}

Error cuts_block(const WeightView& view, const Sharding& sharding, int64_t column) {
  const FormatTraits& format = traits(view.format);
  return usage_error(fmt::format(
      "mesh {}: {} is stored as {} in blocks of {} columns, and the part of a device would begin "
      "or "
      "end at column {}, inside block {}; take a mesh with fewer parts there, or a format with "
      "smaller blocks",
      to_string(sharding.shape), view.name, format.name, format.block_elements, column,
      column / format.block_elements));
}

Result<void> check_no_scales(const WeightView& view, const Sharding& sharding) {
  if (traits(view.format).largest == 0.0f) return {};
  return usage_error(
      fmt::format("mesh {}: {} is stored as {} with scales beside it, which are not split; convert "
                  "the model with --outtype bf16 first",
                  to_string(sharding.shape), view.name, traits(view.format).name));
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
    // Blocks are powers of two, so the longest is a multiple of all.
    if (along_ffn)
      sharding.ffn_unit = std::max(sharding.ffn_unit, traits(view.format).block_elements);
  }
  return sharding;
}

Result<WeightBox> weight_share(const WeightDeclaration& declaration, const WeightView& view,
                               const Sharding& sharding, const Coordinates& place) {
  DUNLIN_RETURN_IF_ERROR(check_no_scales(view, sharding));
  AxisList rows;
  for (size_t i = 0; i + 1 < declaration.dims.size(); ++i)
    rows.insert(rows.end(), declaration.dims[i].begin(), declaration.dims[i].end());
  WeightBox share{.rows = dimension_share(sharding, place, rows),
                  .columns = dimension_share(sharding, place, declaration.dims.back())};
  const auto cut = cut_column(share.columns, traits(view.format).block_elements);
  if (cut) return cuts_block(view, sharding, *cut);
  return share;
}

}  // namespace dunlin

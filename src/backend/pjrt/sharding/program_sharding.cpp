#include "backend/pjrt/sharding/program_sharding.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "backend/weight_share.h"
#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

// Sets the place on several axes.
void set_place(const Mesh& mesh, const std::vector<MeshAxis>& axes, int64_t index,
               Coordinates& place) {
  for (size_t i = axes.size(); i-- > 0;) {
    place[static_cast<size_t>(axes[i])] = index % mesh.size(axes[i]);
    index /= mesh.size(axes[i]);
  }
}

// Before anything is compiled or read.
Result<void> check_shares(const Program& program, const WeightSource& weights,
                          const ProgramSharding& sharded) {
  for (size_t i = 0; i < program.weights.size(); ++i) {
    if (is_whole(sharded.weights[i])) continue;
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, weights(program.weights[i].name));
    const WeightDeclaration declaration = declaration_of(program.weights[i], sharded.weights[i]);
    for (int64_t device = 0; device < sharded.devices(); ++device) {
      const Coordinates place = coordinates_of(sharded.mesh(), device);
      const auto share = weight_share(declaration, view, sharded.sharding, place);
      if (!share.ok()) return share.error();
    }
  }
  return {};
}

}  // namespace

int64_t ProgramSharding::batch_parts() const {
  return splits_batch ? mesh().size(batch_axes()) : 1;
}

int64_t ProgramSharding::batch_part_of(int64_t device) const {
  return splits_batch ? place_on(mesh(), coordinates_of(mesh(), device), batch_axes()) : 0;
}

int64_t ProgramSharding::device_of(int64_t batch_part, const std::vector<MeshAxis>& axes,
                                   int64_t place) const {
  Coordinates coordinates{};
  set_place(mesh(), batch_axes(), batch_part, coordinates);
  set_place(mesh(), axes, place, coordinates);
  return device_at(mesh(), coordinates);
}

Result<std::shared_ptr<const ProgramSharding>> shard_program(const Program& program,
                                                             const WeightSource& weights,
                                                             const MeshShape& shape,
                                                             bool splits_batch) {
  DUNLIN_RETURN_IF_ERROR(check_axes(shape));
  const auto routes = [](const Node& node) { return node.op == Op::experts; };
  if (shape.expert > 1 && std::ranges::none_of(program.nodes, routes)) {
    return usage_error(fmt::format("mesh {}: {} has no experts; data splits its sequences",
                                   to_string(shape), program.model));
  }
  const auto keeps_hidden = [&routes](const Node& node) {
    return routes(node) && std::get<GatedAttributes>(node.attributes).keeps_hidden;
  };
  if (shape.devices() > 1 && std::ranges::any_of(program.nodes, keeps_hidden)) {
    return usage_error(
        fmt::format("mesh {}: what the down projections of experts multiply, as imatrix measures "
                    "it, is read on one device only",
                    to_string(shape)));
  }
  DUNLIN_ASSIGN_OR_RETURN(const Sharding sharding, shard_weights(program, weights, shape));
  auto sharded =
      std::make_shared<const ProgramSharding>(propagate(program, sharding, splits_batch));
  DUNLIN_RETURN_IF_ERROR(check_shares(program, weights, *sharded));
  return sharded;
}

}  // namespace dunlin::pjrt

// Values between the devices of a mesh: sums of what each has a part of, and changes of layout.
#include <cstddef>
#include <variant>

#include "backend/pjrt/lower/context.h"
#include "program/sharding.h"

namespace dunlin::pjrt {

Var LoweringContext::operand(const Node& node, size_t i) {
  if (!on_mesh()) return value(node.operands[i]);
  const auto number = static_cast<size_t>(&node - program.nodes.data());
  return in_layout(node.operands[i], options.sharding->operands[number][i]);
}

Var LoweringContext::output(size_t i) {
  const ValueId id = program.outputs[i].value;
  return on_mesh() ? in_layout(id, options.sharding->outputs[i]) : value(id);
}

std::vector<MeshAxis> LoweringContext::axes_of(const Node& node, size_t operand, size_t dim) const {
  if (!on_mesh()) return {};
  const auto number = static_cast<size_t>(&node - program.nodes.data());
  return split_axes(options.sharding->mesh(), options.sharding->operands[number][operand][dim]);
}

std::vector<MeshAxis> LoweringContext::output_axes(size_t i) const {
  if (!on_mesh() || options.sharding->outputs[i].empty()) return {};
  return split_axes(options.sharding->mesh(), options.sharding->outputs[i].back());
}

std::vector<Splits> LoweringContext::result_splits() const {
  std::vector<Splits> splits;
  if (!on_mesh()) return splits;
  const ProgramSharding& sharding = *options.sharding;
  for (size_t group = 0; group < program.kv_groups.size(); ++group) {
    const int64_t arrays = arrays_of_group(program.kv_groups[group], options.platform);
    splits.insert(splits.end(), static_cast<size_t>(arrays),
                  state_splits(sharding, static_cast<int32_t>(group)));
  }
  if (bucket.steps > 1) {
    splits.push_back(chosen_splits(sharding));
    return splits;
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const Dims& dims = program.type(program.outputs[i].value).dims;
    splits.push_back(output_splits(sharding, sharding.outputs[i], dims));
  }
  return splits;
}

int64_t LoweringContext::places(const std::vector<MeshAxis>& axes) const {
  return axes.empty() ? 1 : options.sharding->mesh().size(axes);
}

Var LoweringContext::place(const std::vector<MeshAxis>& axes) {
  Var index = b.scalar(0);
  for (const MeshAxis axis : axes) {
    const Var scaled = b.multiply(index, b.scalar(places({axis})));
    index = b.add(scaled, at(place_, static_cast<int64_t>(axis)));
  }
  return index;
}

Var LoweringContext::sum_over(const Var& x, const std::vector<MeshAxis>& axes) {
  if (axes.empty()) return x;
  return b.all_reduce(x, device_groups(options.sharding->mesh(), axes));
}

Var LoweringContext::gather_over(const Var& x, int64_t axis, const std::vector<MeshAxis>& axes) {
  if (axes.empty()) return x;
  return b.all_gather(x, axis, device_groups(options.sharding->mesh(), axes));
}

Var LoweringContext::scatter_sum_over(const Var& x, int64_t axis,
                                      const std::vector<MeshAxis>& axes) {
  if (axes.empty()) return x;
  return b.reduce_scatter(x, axis, device_groups(options.sharding->mesh(), axes));
}

// A constant of one value is made anew in any layout.
Var LoweringContext::in_layout(ValueId id, const Layout& wanted) {
  const Layout& has = options.sharding->values[static_cast<size_t>(id)];
  if (has == wanted) return value(id);
  const Value& it = program.values[static_cast<size_t>(id)];
  const Shape dims = bound(it.type.dims);
  if (it.kind == Value::Kind::node) {
    const Node& node = program.nodes[static_cast<size_t>(it.node)];
    const auto* const constant = std::get_if<ConstAttributes>(&node.attributes);
    if (constant != nullptr && constant->values.size() == 1) {
      const TensorType type{element_of(it.type.dtype), options.sharding->local(wanted, dims)};
      return b.constant(type, constant->values.front());
    }
  }
  return part(whole(value(id), has, dims), wanted, dims);
}

namespace {

// x with dimension `dim` as the sizes of its axes; and back, as one.
Var unfolded(Builder& b, const Var& x, size_t dim, const Shape& sizes) {
  Shape dims = x.type.dims;
  dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(dim));
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(dim), sizes.begin(), sizes.end());
  return b.reshape(x, dims);
}

Var folded(Builder& b, const Var& x, size_t dim, size_t axes, int64_t size) {
  Shape dims = x.type.dims;
  const auto first = dims.begin() + static_cast<std::ptrdiff_t>(dim);
  dims.erase(first, first + static_cast<std::ptrdiff_t>(axes));
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(dim), size);
  return b.reshape(x, dims);
}

}  // namespace

// Gathers axis by axis, and drops what pads the last parts.
Var LoweringContext::whole(Var x, const Layout& layout, const Shape& dims) {
  const Sharding& sharding = options.sharding->sharding;
  for (size_t dim = 0; dim < layout.size(); ++dim) {
    const AxisList& axes = layout[dim];
    if (axes.empty()) continue;
    Shape sizes;
    for (const AxisSize& axis : axes)
      sizes.push_back(axis_extent(sharding.mesh, axis, sharding.ffn_unit));
    x = unfolded(b, x, dim, sizes);
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto at_axis = static_cast<int64_t>(dim + i);
      x = gather_over(x, at_axis, split_axes(sharding.mesh, {axes[i]}));
      x = b.slice(x, at_axis, 0, axes[i].size);
    }
    x = folded(b, x, dim, axes.size(), dims[dim]);
  }
  return x;
}

// Cuts this device's part out, padded to the size that all parts have.
Var LoweringContext::part(Var x, const Layout& layout, const Shape& dims) {
  const Sharding& sharding = options.sharding->sharding;
  const Shape local = options.sharding->local(layout, dims);
  for (size_t dim = 0; dim < layout.size(); ++dim) {
    const AxisList& axes = layout[dim];
    if (axes.empty()) continue;
    Shape sizes;
    for (const AxisSize& axis : axes) sizes.push_back(axis.size);
    x = unfolded(b, x, dim, sizes);
    for (size_t i = 0; i < axes.size(); ++i) {
      const std::vector<MeshAxis> split = split_axes(sharding.mesh, {axes[i]});
      if (split.empty()) continue;
      const int64_t extent = axis_extent(sharding.mesh, axes[i], sharding.ffn_unit);
      const auto at_axis = static_cast<int64_t>(dim + i);
      const int64_t padding = extent * places(split) - axes[i].size;
      if (padding > 0) x = b.pad(x, at_axis, 0, padding, 0.0);
      Shape part_dims = x.type.dims;
      part_dims[dim + i] = extent;
      Vars start(part_dims.size(), b.scalar(0));
      start[dim + i] = b.multiply(place(split), b.scalar(extent));
      x = b.dynamic_slice(x, start, part_dims);
    }
    x = folded(b, x, dim, axes.size(), local[dim]);
  }
  return x;
}

}  // namespace dunlin::pjrt

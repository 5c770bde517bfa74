// Operations that move elements.
#include <fmt/format.h>

#include <numeric>

#include "backend/pjrt/stablehlo/builder.h"
#include "base/check.h"

namespace dunlin::pjrt {

Var Builder::reshape(const Var& x, const Shape& dims) {
  if (x.type.dims == dims) return x;
  const TensorType type{x.type.element, dims};
  DUNLIN_CHECK(element_count(dims) == element_count(x.type.dims),
               fmt::format("reshape of {} to {}", x.type.text(), type.text()));
  return emit(fmt::format("stablehlo.reshape {} : ({}) -> {}", x.name, x.type.text(), type.text()),
              type);
}

Var Builder::broadcast(const Var& x, const Shape& dims, const Axes& axes) {
  if (x.type.dims == dims) return x;
  const TensorType type{x.type.element, dims};
  bool fits = axes.size() == x.type.dims.size();
  for (size_t i = 0; fits && i < axes.size(); ++i) {
    fits = x.dim(i) == 1 || x.dim(i) == dims[static_cast<size_t>(axes[i])];
  }
  DUNLIN_CHECK(fits, fmt::format("broadcast of {} to {}", x.type.text(), type.text()));
  return emit(fmt::format("stablehlo.broadcast_in_dim {}, dims = [{}] : ({}) -> {}", x.name,
                          fmt::join(axes, ", "), x.type.text(), type.text()),
              type);
}

Var Builder::broadcast_trailing(const Var& x, const Shape& dims) {
  Axes axes(x.type.dims.size());
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(dims.size() - axes.size()));
  return broadcast(x, dims, axes);
}

Var Builder::transpose(const Var& x, const Axes& axes) {
  TensorType type{x.type.element, {}};
  for (const int64_t axis : axes) type.dims.push_back(x.dim(static_cast<size_t>(axis)));
  return emit(fmt::format("stablehlo.transpose {}, dims = [{}] : ({}) -> {}", x.name,
                          fmt::join(axes, ", "), x.type.text(), type.text()),
              type);
}

Var Builder::slice(const Var& x, int64_t axis, int64_t begin, int64_t end, int64_t stride) {
  TensorType type = x.type;
  type.dims[static_cast<size_t>(axis)] = (end - begin + stride - 1) / stride;
  if (type == x.type) return x;
  std::string ranges;
  for (int64_t i = 0; i < x.rank(); ++i) {
    const bool cut = i == axis;
    ranges += fmt::format("{}{}:{}", i == 0 ? "" : ", ", cut ? begin : 0,
                          cut ? end : x.dim(static_cast<size_t>(i)));
    if (cut && stride != 1) ranges += fmt::format(":{}", stride);
  }
  return emit(fmt::format("stablehlo.slice {} [{}] : ({}) -> {}", x.name, ranges, x.type.text(),
                          type.text()),
              type);
}

Var Builder::concatenate(const Vars& parts, int64_t axis) {
  if (parts.size() == 1) return parts.front();
  TensorType type = parts.front().type;
  int64_t& size = type.dims[static_cast<size_t>(axis)];
  size = 0;
  for (const Var& part : parts) size += part.dim(static_cast<size_t>(axis));
  return emit(fmt::format("stablehlo.concatenate {}, dim = {} : ({}) -> {}", join_names(parts),
                          axis, join_types(parts), type.text()),
              type);
}

Var Builder::pad(const Var& x, int64_t axis, int64_t before, int64_t after, double value) {
  const Var fill = constant({x.type.element, {}}, value);
  TensorType type = x.type;
  type.dims[static_cast<size_t>(axis)] += before + after;
  const size_t rank = type.dims.size();
  Axes low(rank, 0);
  Axes high(rank, 0);
  low[static_cast<size_t>(axis)] = before;
  high[static_cast<size_t>(axis)] = after;
  return emit(
      fmt::format("stablehlo.pad {}, {}, low = [{}], high = [{}], interior = [{}] : "
                  "({}, {}) -> {}",
                  x.name, fill.name, fmt::join(low, ", "), fmt::join(high, ", "),
                  fmt::join(Axes(rank, 0), ", "), x.type.text(), fill.type.text(), type.text()),
      type);
}

}  // namespace dunlin::pjrt

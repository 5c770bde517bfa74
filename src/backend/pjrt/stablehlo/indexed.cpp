// Reads and writes at places that are only known when the program runs.
#include <fmt/format.h>

#include "backend/pjrt/stablehlo/builder.h"
#include "base/check.h"

namespace dunlin::pjrt {

Var Builder::gather(const Var& x, const Var& indices, int64_t axis) {
  TensorType type{x.type.element, {}};
  Shape slice_sizes = x.type.dims;
  slice_sizes[static_cast<size_t>(axis)] = 1;
  Axes offset_dims;  // dimensions of the result that come from x
  for (int64_t i = 0; i < axis; ++i) {
    offset_dims.push_back(i);
    type.dims.push_back(x.dim(static_cast<size_t>(i)));
  }
  type.dims.insert(type.dims.end(), indices.type.dims.begin(), indices.type.dims.end());
  for (int64_t i = axis + 1; i < x.rank(); ++i) {
    offset_dims.push_back(static_cast<int64_t>(type.dims.size()));
    type.dims.push_back(x.dim(static_cast<size_t>(i)));
  }
  return emit(
      fmt::format("\"stablehlo.gather\"({}, {}) <{{dimension_numbers = #stablehlo.gather<"
                  "offset_dims = [{}], collapsed_slice_dims = [{}], start_index_map = [{}],"
                  " index_vector_dim = {}>, slice_sizes = array<i64: {}>}}> : "
                  "({}, {}) -> {}",
                  x.name, indices.name, fmt::join(offset_dims, ", "), axis, axis, indices.rank(),
                  fmt::join(slice_sizes, ", "), x.type.text(), indices.type.text(), type.text()),
      type);
}

Var Builder::scatter_add(const Var& into, const Var& rows, const Var& updates) {
  Axes window_dims;
  for (int64_t i = 1; i < into.rank(); ++i) window_dims.push_back(i);
  const std::string scalar = TensorType{into.type.element, {}}.text();
  return emit(fmt::format("\"stablehlo.scatter\"({0}, {1}, {2}) <{{scatter_dimension_numbers = "
                          "#stablehlo.scatter<update_window_dims = [{3}], inserted_window_dims = "
                          "[0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}}> ({{\n"
                          "^bb0(%a: {4}, %b: {4}):\n  %s = stablehlo.add %a, %b : {4}\n"
                          "  stablehlo.return %s : {4}\n}}) : ({5}, {6}, {7}) -> {5}",
                          into.name, rows.name, updates.name, fmt::join(window_dims, ", "), scalar,
                          into.type.text(), rows.type.text(), updates.type.text()),
              into.type);
}

Var Builder::dynamic_slice(const Var& x, const Vars& starts, const Shape& sizes) {
  DUNLIN_CHECK(starts.size() == sizes.size() && sizes.size() == x.type.dims.size(),
               "slice of " + x.type.text());
  if (x.type.dims == sizes) return x;
  const TensorType type{x.type.element, sizes};
  return emit(fmt::format("stablehlo.dynamic_slice {}, {}, sizes = [{}] : ({}, {}) -> {}", x.name,
                          join_names(starts), fmt::join(sizes, ", "), x.type.text(),
                          join_types(starts), type.text()),
              type);
}

Var Builder::dynamic_update_slice(const Var& x, const Var& update, const Vars& starts) {
  DUNLIN_CHECK(x.type.element == update.type.element && starts.size() == x.type.dims.size() &&
                   starts.size() == update.type.dims.size(),
               fmt::format("update of {} by {}", x.type.text(), update.type.text()));
  return emit(fmt::format("stablehlo.dynamic_update_slice {}, {}, {} : ({}, {}, {}) -> {}", x.name,
                          update.name, join_names(starts), x.type.text(), update.type.text(),
                          join_types(starts), x.type.text()),
              x.type);
}

}  // namespace dunlin::pjrt

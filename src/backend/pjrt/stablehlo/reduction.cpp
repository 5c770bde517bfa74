// Sums, contractions and the k largest.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "backend/pjrt/stablehlo/builder.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

// What a maximum starts from.
double lowest(Element element) {
  return element == Element::i32 ? static_cast<double>(std::numeric_limits<int32_t>::min())
                                 : -std::numeric_limits<double>::infinity();
}

bool contains(const Axes& axes, int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

void append_free_dims(const Var& x, const Axes& batch, const Axes& contract, Shape& into) {
  for (int64_t axis = 0; axis < x.rank(); ++axis) {
    if (contains(batch, axis) || contains(contract, axis)) continue;
    into.push_back(x.dim(static_cast<size_t>(axis)));
  }
}

}  // namespace

Var Builder::reduce(Reduction kind, const Var& x, int64_t axis) {
  const bool sum = kind == Reduction::sum;
  const Var start = constant({x.type.element, {}}, sum ? 0.0 : lowest(x.type.element));
  TensorType type = x.type;
  type.dims.erase(type.dims.begin() + axis);
  return emit(fmt::format("stablehlo.reduce({} init: {}) applies stablehlo.{} across dimensions = "
                          "[{}] : ({}, {}) -> {}",
                          x.name, start.name, sum ? "add" : "maximum", axis, x.type.text(),
                          start.type.text(), type.text()),
              type);
}

// A window over all elements before and at each place.
Var Builder::cumulative_sum(const Var& x, int64_t axis) {
  const Var start = constant({x.type.element, {}}, 0.0);
  const int64_t size = x.dim(static_cast<size_t>(axis));
  std::string window;
  std::string padding;
  for (int64_t i = 0; i < x.rank(); ++i) {
    window += fmt::format("{}{}", i == 0 ? "" : ", ", i == axis ? size : 1);
    padding += fmt::format("{}[{}, 0]", i == 0 ? "" : ", ", i == axis ? size - 1 : 0);
  }
  const std::string scalar = start.type.text();
  return emit(fmt::format("\"stablehlo.reduce_window\"({0}, {1}) <{{window_dimensions = "
                          "array<i64: {2}>, padding = dense<[{3}]> : tensor<{4}x2xi64>}}> ({{\n"
                          "^bb0(%a: {5}, %b: {5}):\n  %s = stablehlo.add %a, %b : {5}\n"
                          "  stablehlo.return %s : {5}\n}}) : ({6}, {5}) -> {6}",
                          x.name, start.name, window, padding, x.rank(), scalar, x.type.text()),
              x.type);
}

// HIGHEST: without it a TPU multiplies float32 in bf16, and a GPU in TF32.
Var Builder::dot(const Var& a, const Var& b, const DotAxes& axes) {
  DUNLIN_CHECK(a.type.element == b.type.element,
               fmt::format("product of {} and {}", a.type.text(), b.type.text()));
  TensorType type{Element::f32, {}};
  for (const int64_t axis : axes.batch_left) {
    type.dims.push_back(a.dim(static_cast<size_t>(axis)));
  }
  append_free_dims(a, axes.batch_left, axes.contract_left, type.dims);
  append_free_dims(b, axes.batch_right, axes.contract_right, type.dims);
  const std::string batch =
      axes.batch_left.empty()
          ? ""
          : fmt::format(" batching_dims = [{}] x [{}],", fmt::join(axes.batch_left, ", "),
                        fmt::join(axes.batch_right, ", "));
  const char* precision = a.type.element == Element::f32 ? ", precision = [HIGHEST, HIGHEST]" : "";
  return emit(fmt::format("stablehlo.dot_general {}, {},{} contracting_dims = [{}] x [{}]{} : "
                          "({}, {}) -> {}",
                          a.name, b.name, batch, fmt::join(axes.contract_left, ", "),
                          fmt::join(axes.contract_right, ", "), precision, a.type.text(),
                          b.type.text(), type.text()),
              type);
}

Builder::Best Builder::top_k(const Var& x, int64_t k) {
  TensorType values = x.type;
  values.dims.back() = k;
  const TensorType indices{Element::i32, values.dims};
  const Vars best = emit_many(fmt::format("chlo.top_k({}, k = {}) : {} -> ({}, {})", x.name, k,
                                          x.type.text(), values.text(), indices.text()),
                              {values, indices});
  return {best[0], best[1]};
}

}  // namespace dunlin::pjrt

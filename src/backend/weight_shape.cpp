#include "backend/weight_shape.h"

#include <fmt/format.h>

#include <utility>

namespace dunlin {

MatrixShape matrix_shape(const WeightDeclaration& declaration) {
  MatrixShape shape;
  shape.columns = extent(declaration.dims.back());
  for (size_t i = 0; i + 1 < declaration.dims.size(); ++i) {
    shape.rows *= extent(declaration.dims[i]);
  }
  return shape;
}

Result<void> check_shape(const WeightDeclaration& declaration, const WeightView& view) {
  const MatrixShape expected = matrix_shape(declaration);
  if (view.rows == expected.rows && view.columns == expected.columns) return {};
  return model_error(fmt::format("tensor {} in {}: expected {}, found [{},{}]", declaration.name,
                                 view.source->name(), to_string(declaration.shape()), view.rows,
                                 view.columns));
}

Result<void> check_columns(const WeightDeclaration& declaration, const WeightView& view,
                           Arithmetic arithmetic) {
  if (arithmetic != Arithmetic::int8wide || view.columns <= kMostWideColumns) return {};
  return model_error(
      fmt::format("tensor {} in {}: --precision fast multiplies at most {} columns, and it has {}",
                  declaration.name, view.source->name(), kMostWideColumns, view.columns));
}

Result<std::vector<WeightView>> resolve_weights(const Program& program,
                                                const WeightSource& source) {
  std::vector<WeightView> views;
  for (const WeightDeclaration& declaration : program.weights) {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, source(declaration.name));
    DUNLIN_RETURN_IF_ERROR(check_shape(declaration, view));
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace dunlin

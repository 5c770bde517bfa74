// The basic operations on Arrays, as program/ops.h describes them. `shape` is the result's shape;
// types and shapes were checked when the Program was verified. Sums run in the orders of
// docs/decisions/0002-numerics.md; integer arithmetic wraps around.
#pragma once

#include <vector>

#include "backend/reference/array.h"
#include "program/attributes.h"

namespace dunlin::reference {

// ---- elementwise (elementwise_ops.cpp); operands broadcast over trailing dimensions
Array add(const Array& a, const Array& b, const Shape& shape);
Array mul(const Array& a, const Array& b, const Shape& shape);
// Integer division by zero gives 0; shifts by 32 or more give 0 (shift_right fills with zeros).
Array binary(BinaryKind kind, const Array& a, const Array& b, const Shape& shape);
Array compare(CompareKind kind, const Array& a, const Array& b, const Shape& shape);
Array select(const Array& condition, const Array& when_true, const Array& when_false,
             const Shape& shape);
// sin and cos of |x| >= 2^26 or of no number are NaN.
Array unary(UnaryKind kind, const Array& x);
// To i32: towards zero, saturated, NaN to 0. To boolean: not zero.
Array convert(const Array& x, DType to);
Array constant(const ConstAttributes& attributes, DType dtype, const Shape& shape);
Array iota(int64_t axis, DType dtype, const Shape& shape);

// ---- layout (layout_ops.cpp)
Array reshape(const Array& x, const Shape& shape);
Array broadcast(const Array& x, const Shape& shape);
Array transpose(const Array& x, const PermutationAttributes& attributes, const Shape& shape);
Array slice(const Array& x, const SliceAttributes& attributes, const Shape& shape);
Array pad(const Array& x, const PadAttributes& attributes, const Shape& shape);
Array concat(const std::vector<const Array*>& parts, int64_t axis, const Shape& shape);
// An index outside the axis reads the nearest element.
Array gather(const Array& x, const Array& indices, int64_t axis, const Shape& shape);

// ---- sums and orders (reduction_ops.cpp)
Array reduce(const Array& x, const ReduceAttributes& attributes, const Shape& shape);  // lanes
Array dot(const Array& a, const Array& b, const DotAttributes& attributes,
          const Shape& shape);  // chain over the contracted axes in the order they are listed
// Updates are added in ascending order; one whose index is outside is dropped.
Array scatter_add(const Array& into, const Array& indices, const Array& updates);
Array cumsum(const Array& x, int64_t axis);  // ascending
void top_k(const Array& x, int64_t k, Array& values, Array& indices);

}  // namespace dunlin::reference

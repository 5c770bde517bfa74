// Recording of the operations that rearrange elements, and of indexed reads and writes.
#include "program/ops.h"
#include "program/ops_node.h"

namespace dunlin {

namespace {

// The result asked for has x's dtype; an undefined x is reported by record_one.
ValueType like(const Tensor& x, Dims dims) {
  return {x.defined() ? x.type().dtype : DType::f32, std::move(dims)};
}

}  // namespace

Tensor reshape(Tensor x, Dims dims, std::source_location where) {
  return record_one(Op::reshape, NoAttributes{}, {x}, where, like(x, std::move(dims)));
}

Tensor slice(Tensor x, SliceAttributes attributes, std::source_location where) {
  return record_one(Op::slice, attributes, {x}, where);
}

Tensor concat(const std::vector<Tensor>& parts, int64_t axis, std::source_location where) {
  return record_one(Op::concat, AxisAttributes{axis, 0}, parts, where);
}

Tensor broadcast(Tensor x, Dims dims, std::source_location where) {
  return record_one(Op::broadcast, NoAttributes{}, {x}, where, like(x, std::move(dims)));
}

Tensor transpose(Tensor x, std::vector<int64_t> axes, std::source_location where) {
  return record_one(Op::transpose, PermutationAttributes{std::move(axes)}, {x}, where);
}

Tensor pad(Tensor x, PadAttributes attributes, std::source_location where) {
  return record_one(Op::pad, attributes, {x}, where);
}

Tensor gather(Tensor x, Tensor indices, int64_t axis, std::source_location where) {
  return record_one(Op::gather, AxisAttributes{axis, 0}, {x, indices}, where);
}

Tensor scatter_add(Tensor into, Tensor indices, Tensor updates, std::source_location where) {
  return record_one(Op::scatter_add, AxisAttributes{}, {into, indices, updates}, where);
}

}  // namespace dunlin

// Recording of the basic operations that compute, and of the KV state.
#include "program/ops.h"
#include "program/ops_node.h"

namespace dunlin {

Tensor add(Tensor a, Tensor b, std::source_location where) {
  return record_one(Op::add, NoAttributes{}, {a, b}, where);
}

Tensor mul(Tensor a, Tensor b, std::source_location where) {
  return record_one(Op::mul, NoAttributes{}, {a, b}, where);
}

Tensor constant(Recorder& recorder, Dims dims, std::vector<double> values, DType dtype,
                std::source_location where) {
  const ValueType asked{dtype, std::move(dims)};
  return record_node(recorder, Op::constant, ConstAttributes{std::move(values)}, {}, where,
                     asked)[0];
}

Tensor iota(Recorder& recorder, Dims dims, int64_t axis, DType dtype, std::source_location where) {
  const ValueType asked{dtype, std::move(dims)};
  return record_node(recorder, Op::iota, AxisAttributes{axis, 0}, {}, where, asked)[0];
}

Tensor convert(Tensor x, DType to, std::source_location where) {
  return record_one(Op::convert, ConvertAttributes{to}, {x}, where);
}

Tensor reduce(Tensor x, ReduceAttributes::Kind kind, int64_t axis, std::source_location where) {
  return record_one(Op::reduce, ReduceAttributes{kind, axis}, {x}, where);
}

Tensor dot(Tensor a, Tensor b, DotAttributes attributes, std::source_location where) {
  return record_one(Op::dot, std::move(attributes), {a, b}, where);
}

Tensor select(Tensor condition, Tensor when_true, Tensor when_false, std::source_location where) {
  return record_one(Op::select, NoAttributes{}, {condition, when_true, when_false}, where);
}

Tensor compare(Tensor a, Tensor b, CompareKind kind, std::source_location where) {
  return record_one(Op::compare, CompareAttributes{kind}, {a, b}, where);
}

TopK top_k(Tensor x, int64_t k, std::source_location where) {
  Recorder& recorder = recorder_of(Op::top_k, {x}, where);
  const int64_t last = static_cast<int64_t>(x.dims().size()) - 1;
  const auto results = record_node(recorder, Op::top_k, AxisAttributes{last, k}, {x}, where);
  return {results[0], results[1]};
}

Tensor cumsum(Tensor x, int64_t axis, std::source_location where) {
  return record_one(Op::cumsum, AxisAttributes{axis, 0}, {x}, where);
}

Tensor unary(Tensor x, UnaryKind kind, std::source_location where) {
  return record_one(Op::unary, UnaryAttributes{kind}, {x}, where);
}

Tensor binary(Tensor a, Tensor b, BinaryKind kind, std::source_location where) {
  return record_one(Op::binary, BinaryAttributes{kind}, {a, b}, where);
}

void state_write(Tensor k, Tensor v, StateAttributes state, std::source_location where) {
  record_node(recorder_of(Op::state_write, {k, v}, where), Op::state_write, state, {k, v}, where);
}

StateSlots state_read(Recorder& recorder, StateAttributes state, std::source_location where) {
  const auto results = record_node(recorder, Op::state_read, state, {}, where);
  return {results[0], results[1], results[2]};
}

}  // namespace dunlin

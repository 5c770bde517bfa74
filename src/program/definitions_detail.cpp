// The arithmetic that definitions are written in (docs/decisions/0002-numerics.md).
#include "program/definitions_detail.h"

namespace dunlin::definitions {

Tensor filled_like(Tensor x, double value) {
  const ValueType type = x.type();
  return constant(x.recorder(), type.dims, {value}, type.dtype);
}

Tensor plus(Tensor x, double c) {
  return add(x, constant(x.recorder(), {}, {c}, x.type().dtype));
}

Tensor times(Tensor x, double c) {
  return mul(x, constant(x.recorder(), {}, {c}, x.type().dtype));
}

namespace {

Tensor repeat_to(Tensor x, const Dims& dims) {
  return x.dims() == dims ? x : broadcast(x, dims);
}

}  // namespace

Tensor combine(Tensor a, Tensor b, BinaryKind kind) {
  return binary(a, repeat_to(b, a.dims()), kind);
}

Tensor compare_to(Tensor a, Tensor b, CompareKind kind) {
  return compare(a, repeat_to(b, a.dims()), kind);
}

Tensor compare_to(Tensor a, double c, CompareKind kind) {
  return compare(a, filled_like(a, c), kind);
}

Tensor sum(Tensor x, int64_t axis) {
  return reduce(x, ReduceAttributes::Kind::sum, axis);
}

Tensor maximum(Tensor x, int64_t axis) {
  return reduce(x, ReduceAttributes::Kind::max, axis);
}

Tensor with_axis(Tensor x, int64_t axis) {
  Dims dims = x.dims();
  dims.insert(dims.begin() + axis, 1);
  return reshape(x, dims);
}

int64_t last_axis(Tensor x) {
  return static_cast<int64_t>(x.dims().size()) - 1;
}

Tensor sigmoid(Tensor x) {
  const Tensor denominator = plus(unary(unary(x, UnaryKind::neg), UnaryKind::exp), 1.0);
  return combine(filled_like(denominator, 1.0), denominator, BinaryKind::div);
}

Tensor capped(Tensor x, float cap) {
  const Tensor z = combine(x, filled_like(x, cap), BinaryKind::div);
  const Tensor tanh = plus(times(sigmoid(times(z, 2.0)), 2.0), -1.0);
  return times(tanh, cap);
}

namespace {

// x / (1 + exp(-x))
Tensor silu(Tensor x) {
  const Tensor denominator = plus(unary(unary(x, UnaryKind::neg), UnaryKind::exp), 1.0);
  return combine(x, denominator, BinaryKind::div);
}

// x sigmoid(1.5957691 (x + 0.044715 x^3)): 0.5 (1 + tanh z) = sigmoid(2z)
Tensor gelu_tanh(Tensor x) {
  const Tensor cube = mul(mul(x, x), x);
  const Tensor z = times(add(x, times(cube, 0.044715f)), 1.5957691f);
  return mul(x, sigmoid(z));
}

Tensor limited(Tensor x, float limit, BinaryKind kind) {
  return combine(x, filled_like(x, limit), kind);
}

}  // namespace

Tensors act(const Definition& it) {
  const Tensor x = it.operands[0];
  switch (it.attributes<ActAttributes>().kind) {
    case ActAttributes::Kind::silu:
      return {silu(x)};
    case ActAttributes::Kind::gelu_tanh:
      return {gelu_tanh(x)};
    case ActAttributes::Kind::sigmoid:
      break;
  }
  return {sigmoid(x)};
}

Tensor gated_product(Tensor gate, Tensor up, const GatedAttributes& attributes) {
  if (attributes.kind == GateKind::silu) return mul(silu(gate), up);
  if (attributes.kind == GateKind::gelu_tanh) return mul(gelu_tanh(gate), up);
  const Tensor g = limited(gate, attributes.limit, BinaryKind::min);
  const Tensor above = limited(up, -attributes.limit, BinaryKind::max);
  const Tensor u = limited(above, attributes.limit, BinaryKind::min);
  const Tensor activated = mul(g, sigmoid(times(g, attributes.alpha)));
  return mul(plus(u, 1.0), activated);
}

Tensor project(Tensor x, Tensor weight) {
  return dot(x, weight, {{}, {}, {last_axis(x)}, {1}});
}

}  // namespace dunlin::definitions

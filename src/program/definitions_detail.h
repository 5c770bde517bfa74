// The definitions by family, and the arithmetic they are written in.
#pragma once

#include <vector>

#include "program/ops.h"

namespace dunlin::definitions {

// A node to define: its operands are values of the new recording.
struct Definition {
  Recorder& recorder;
  const Node& node;
  std::vector<Tensor> operands;

  template <typename A>
  const A& attributes() const {
    return std::get<A>(node.attributes);
  }
};

using Tensors = std::vector<Tensor>;

Tensors embed(const Definition& it);
Tensors linear(const Definition& it);
Tensors rms_norm(const Definition& it);
Tensors rope_angles(const Definition& it);
Tensors rope(const Definition& it);
Tensors gated(const Definition& it);
Tensors softcap(const Definition& it);
Tensors act(const Definition& it);
Tensors gather_rows(const Definition& it);
Tensors pool(const Definition& it);
Tensors tap(const Definition& it);
Tensors attention(const Definition& it);
Tensors route(const Definition& it);
Tensors experts(const Definition& it);
Tensors logits_view(const Definition& it);
Tensors sample(const Definition& it);

// `value` in every element of x's shape and type.
Tensor filled_like(Tensor x, double value);
Tensor plus(Tensor x, double c);
Tensor times(Tensor x, double c);
// b is repeated to a's shape (trailing dimensions align).
Tensor combine(Tensor a, Tensor b, BinaryKind kind);
Tensor compare_to(Tensor a, Tensor b, CompareKind kind);
Tensor compare_to(Tensor a, double c, CompareKind kind);
Tensor sum(Tensor x, int64_t axis);
Tensor maximum(Tensor x, int64_t axis);
Tensor with_axis(Tensor x, int64_t axis);  // a dimension of size 1 at `axis`
int64_t last_axis(Tensor x);
Tensor sigmoid(Tensor x);
Tensor capped(Tensor x, float cap);  // cap tanh(x / cap), tanh z = 2 sigmoid(2z) - 1
Tensor gated_product(Tensor gate, Tensor up, const GatedAttributes& attributes);
// Sums over the last dimension of both: [..,I], [O,I] -> [..,O].
Tensor project(Tensor x, Tensor weight);

}  // namespace dunlin::definitions

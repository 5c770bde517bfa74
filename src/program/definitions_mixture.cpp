// Definitions of mixtures of experts. Every token gathers its experts' weights, which is meant for
// small sizes: a back end for large ones has a kernel.
#include "program/definitions_detail.h"

namespace dunlin::definitions {

namespace {

Tensor softmax(Tensor x) {  // over the last dimension
  const int64_t last = last_axis(x);
  const Tensor largest = with_axis(maximum(x, last), last);
  const Tensor e = unary(combine(x, largest, BinaryKind::sub), UnaryKind::exp);
  return combine(e, with_axis(sum(e, last), last), BinaryKind::div);
}

}  // namespace

Tensors route(const Definition& it) {
  const auto& attributes = it.attributes<RouteAttributes>();
  Tensor logits = project(it.operands[0], it.operands[1]);  // [T,E]
  if (it.operands.size() == 3) logits = add(logits, it.operands[2]);
  const TopK chosen = top_k(logits, attributes.k);
  if (!attributes.softmax_first) return {chosen.indices, softmax(chosen.values)};
  // The best logits are the best probabilities: shift and sum over all experts, then keep k.
  const Tensor largest = with_axis(maximum(logits, 1), 1);
  const Tensor e = unary(combine(logits, largest, BinaryKind::sub), UnaryKind::exp);
  const Tensor chosen_e = unary(combine(chosen.values, largest, BinaryKind::sub), UnaryKind::exp);
  return {chosen.indices, combine(chosen_e, with_axis(sum(e, 1), 1), BinaryKind::div)};
}

// sum_j weight_j (down_e gated(gate_e x + b, up_e x + b) + b), j ascending
Tensors experts(const Definition& it) {
  const Tensor x = it.operands[0];        // [T,D]
  const Tensor chosen = it.operands[1];   // [T,k]
  const Tensor weights = it.operands[2];  // [T,k]
  const bool biased = it.operands.size() == 9;
  const auto of_chosen = [&](size_t operand) { return gather(it.operands[operand], chosen, 0); };
  const auto into_ffn = [&](size_t matrix, size_t bias) {
    const Tensor y = dot(x, of_chosen(matrix), {{0}, {0}, {1}, {3}});  // [T,k,F]
    return biased ? add(y, of_chosen(bias)) : y;
  };
  const Tensor g = into_ffn(3, 6);
  const Tensor u = into_ffn(4, 7);
  const auto& attributes = it.attributes<GatedAttributes>();
  const Tensor h = gated_product(g, u, attributes);
  Tensor y = dot(h, of_chosen(5), {{0, 1}, {0, 1}, {2}, {3}});  // [T,k,D]
  if (biased) y = add(y, of_chosen(8));
  const Tensor result = sum(mul(y, with_axis(weights, 2)), 1);
  return attributes.keeps_hidden ? Tensors{result, h} : Tensors{result};
}

}  // namespace dunlin::definitions

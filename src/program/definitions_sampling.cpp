// Definitions of the logits view and of sampling (docs/decisions/0002-numerics.md, "Logits view and
// sampling").
#include <limits>

#include "program/definitions_detail.h"

namespace dunlin::definitions {

namespace {

struct Exponentials {
  Tensor e;      // [R,V], exp(l - max)
  Tensor total;  // [R]
  Tensor lse;    // [R]
};

Exponentials exponentials(Tensor logits) {
  const Tensor largest = maximum(logits, 1);
  const Tensor shifted = combine(logits, with_axis(largest, 1), BinaryKind::sub);
  const Tensor e = unary(shifted, UnaryKind::exp);
  const Tensor total = sum(e, 1);
  return {e, total, add(largest, unary(total, UnaryKind::log))};
}

// The sum of e values / total, where an element of probability 0 adds nothing, even if infinite.
Tensor expectation(const Exponentials& row, Tensor values) {
  const Tensor possible = compare_to(row.e, 0.0, CompareKind::gt);
  const Tensor product = mul(row.e, values);
  const Tensor terms = select(possible, product, filled_like(product, 0.0));
  return combine(sum(terms, 1), row.total, BinaryKind::div);
}

// 1 where no logit is NaN or +infinity and one is above -infinity.
Tensor can_be_sampled(Tensor logits) {
  const double largest = std::numeric_limits<float>::max();
  const Tensor allowed = compare_to(logits, largest, CompareKind::le);  // false for NaN
  const Tensor finite =
      binary(allowed, compare_to(logits, -largest, CompareKind::ge), BinaryKind::logical_and);
  const Tensor some = maximum(convert(finite, DType::f32), 1);
  const Tensor bad = maximum(convert(unary(allowed, UnaryKind::logical_not), DType::f32), 1);
  return mul(some, plus(times(bad, -1.0), 1.0));
}

// Temperature 0, which means greedy, divides by 1.
Tensor divisor(Tensor temperatures) {
  const Tensor positive = compare_to(temperatures, 0.0, CompareKind::gt);
  return select(positive, temperatures, filled_like(temperatures, 1.0));
}

}  // namespace

Tensors logits_view(const Definition& it) {
  const Tensor logits = it.operands[0];
  const Exponentials row = exponentials(logits);
  const Tensor divided = combine(logits, with_axis(divisor(it.operands[1]), 1), BinaryKind::div);
  const Tensor lse_at_temperature = exponentials(divided).lse;
  const Tensor entropy = combine(row.lse, expectation(row, logits), BinaryKind::sub);
  const Tensor log_probability = combine(logits, with_axis(row.lse, 1), BinaryKind::sub);
  const Tensor deviation = add(log_probability, with_axis(entropy, 1));
  const Tensor varentropy = expectation(row, mul(deviation, deviation));
  const Tensor sampled = can_be_sampled(logits);
  std::vector<Tensor> columns;
  for (const Tensor& column : {row.lse, lse_at_temperature, entropy, varentropy, sampled}) {
    columns.push_back(with_axis(column, 1));
  }
  const TopK best = top_k(logits, it.attributes<LogitsViewAttributes>().k);
  return {concat(columns, 1), best.indices, best.values};
}

Tensors sample(const Definition& it) {
  const Tensor ids = it.operands[1];
  const Tensor temperatures = it.operands[3];
  const Tensor lse = slice(it.operands[0], {1, 1, 2});  // [R,1], at the row's temperature
  const Tensor divided =
      combine(it.operands[2], with_axis(divisor(temperatures), 1), BinaryKind::div);
  const Tensor probability = unary(combine(divided, lse, BinaryKind::sub), UnaryKind::exp);
  const Tensor mass = cumsum(probability, 1);  // [R,k]
  // The candidates passed are those whose mass is not above u; greedy passes none.
  const Tensor passed = compare_to(mass, with_axis(it.operands[4], 1), CompareKind::le);
  const Tensor random = convert(compare_to(temperatures, 0.0, CompareKind::gt), DType::i32);
  const Tensor chosen = mul(sum(convert(passed, DType::i32), 1), random);  // [R]
  const Tensor number = iota(it.recorder, ids.dims(), 1, DType::i32);
  const Tensor is_chosen = compare_to(number, with_axis(chosen, 1), CompareKind::eq);
  // -1 where all were passed: ids are not negative, so the maximum is the chosen one's or -1.
  return {maximum(select(is_chosen, ids, filled_like(ids, -1.0)), 1)};
}

}  // namespace dunlin::definitions

// Rules of mixtures of experts.
#include "program/rules_detail.h"

namespace dunlin::rules {

ValueTypes route(const RuleInput& in) {
  expect_operands(in, 2, 3);
  const int64_t k = attributes_of<RouteAttributes>(in).k;
  const Dims x = expect(in, 0, "x", DType::f32, 2);
  const Dims weight = expect_weight(in, 1, "weight", 2);
  if (x[1] != weight[1]) mismatch("x", x, "weight", weight);
  if (in.operands.size() == 3) expect_vector(in, 2, "bias", weight[0]);
  if (k < 1 || k > weight[0].size) {
    fail("{} of the experts of weight {}", k, to_string(weight));
  }
  return {{DType::i32, {x[0], k}}, {DType::f32, {x[0], k}}};
}

namespace {

void expect_rows(const RuleInput& in, size_t index, const char* name, const Dims& expected) {
  const Dims dims = expect_weight(in, index, name, expected.size());
  if (dims != expected) fail("{} {} is not {}", name, to_string(dims), to_string(expected));
}

}  // namespace

ValueTypes experts(const RuleInput& in) {
  const size_t count = in.operands.size();
  if (count == 7 || count == 8) fail("all three biases or none");
  expect_operands(in, 6, 9);
  const auto& attributes = attributes_of<GatedAttributes>(in);
  check_gated(attributes);
  const Dims x = expect(in, 0, "x", DType::f32, 2);
  const Dims chosen = expect(in, 1, "experts", DType::i32, 2);
  const Dims weights = expect(in, 2, "weights", DType::f32, 2);
  if (chosen != weights) mismatch("experts", chosen, "weights", weights);
  if (chosen[0] != x[0]) mismatch("x", x, "experts", chosen);
  const Dims gate = expect_weight(in, 3, "gate", 3);
  if (gate[2] != x[1]) mismatch("x", x, "gate", gate);
  if (!chosen[1].known() || chosen[1].size > gate[0].size)
    mismatch("experts", chosen, "gate", gate);
  expect_rows(in, 4, "up", gate);
  expect_rows(in, 5, "down", {gate[0], x[1], gate[1]});
  if (count == 9) {
    expect_rows(in, 6, "gate bias", {gate[0], gate[1]});
    expect_rows(in, 7, "up bias", {gate[0], gate[1]});
    expect_rows(in, 8, "down bias", {gate[0], x[1]});
  }
  ValueTypes results = {{DType::f32, x}};
  if (attributes.keeps_hidden) results.push_back({DType::f32, {x[0], chosen[1], gate[1]}});
  return results;
}

}  // namespace dunlin::rules

// Rules of the semantic operations on rows.
#include "program/rules_detail.h"

namespace dunlin::rules {

ValueTypes embed(const RuleInput& in) {
  expect_operands(in, 2, 2);
  expect_finite("scale", attributes_of<EmbedAttributes>(in).scale);
  const Dims ids = expect(in, 0, "ids", DType::i32, 1);
  const Dims weight = expect_weight(in, 1, "weight", 2);
  return {{DType::f32, {ids[0], weight[1]}}};
}

ValueTypes linear(const RuleInput& in) {
  expect_operands(in, 2, 3);
  attributes_of<NoAttributes>(in);
  Dims x = expect(in, 0, "x", DType::f32, kAnyRank);
  const Dims weight = expect_weight(in, 1, "weight", 2);
  if (x.back() != weight[1]) mismatch("x", x, "weight", weight);
  if (in.operands.size() == 3) expect_vector(in, 2, "bias", weight[0]);
  x.back() = weight[0];
  return {{DType::f32, x}};
}

ValueTypes rms_norm(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const auto& attributes = attributes_of<RmsNormAttributes>(in);
  if (!(attributes.eps >= 0.0f) || !std::isfinite(attributes.eps)) {
    fail("eps {} is not a small positive number", attributes.eps);
  }
  const Dims x = expect(in, 0, "x", DType::f32, kAnyRank);
  const Dims weight = expect_weight(in, 1, "weight", 1);
  if (x.back() != weight[0]) mismatch("x", x, "weight", weight);
  return {{DType::f32, x}};
}

ValueTypes rope_angles(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& attributes = attributes_of<RopeAnglesAttributes>(in);
  if (attributes.inv_freq.empty()) fail("inv_freq is empty");
  for (const float frequency : attributes.inv_freq) expect_finite("inv_freq", frequency);
  expect_finite("scale", attributes.scale);
  const Dims positions = expect(in, 0, "positions", DType::i32, 1);
  const auto pairs = static_cast<int64_t>(attributes.inv_freq.size());
  return {{DType::f32, {positions[0], pairs, 2}}};
}

ValueTypes rope(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const int64_t rotary_dim = attributes_of<RopeAttributes>(in).rotary_dim;
  const Dims x = expect(in, 0, "x", DType::f32, 3);
  const Dims angles = expect(in, 1, "angles", DType::f32, 3);
  if (!x[2].known() || rotary_dim < 2 || rotary_dim % 2 != 0 || rotary_dim > x[2].size) {
    fail("rotary_dim {} is not an even number up to the head width of x {}", rotary_dim,
         to_string(x));
  }
  if (angles != Dims{x[0], rotary_dim / 2, 2}) mismatch("x", x, "angles", angles);
  return {{DType::f32, x}};
}

void check_gated(const GatedAttributes& attributes) {
  if (attributes.kind != GateKind::oai) return;
  expect_finite("alpha", attributes.alpha);
  if (!(attributes.limit > 0.0f)) fail("limit {} is not positive", attributes.limit);
}

ValueTypes gated(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const auto& attributes = attributes_of<GatedAttributes>(in);
  check_gated(attributes);
  if (attributes.keeps_hidden) fail("keeps_hidden is for experts");
  expect(in, 0, "gate", DType::f32, kAnyRank);
  return {expect_same(in, 0, "gate", 1, "up")};
}

ValueTypes softcap(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const float cap = attributes_of<SoftcapAttributes>(in).cap;
  if (!(cap > 0.0f) || !std::isfinite(cap)) fail("cap {} is not positive", cap);
  return {{DType::f32, expect(in, 0, "x", DType::f32, kAnyRank)}};
}

ValueTypes act(const RuleInput& in) {
  expect_operands(in, 1, 1);
  attributes_of<ActAttributes>(in);
  return {{DType::f32, expect(in, 0, "x", DType::f32, kAnyRank)}};
}

ValueTypes gather_rows(const RuleInput& in) {
  expect_operands(in, 2, 2);
  attributes_of<NoAttributes>(in);
  Dims x = expect(in, 0, "x", DType::f32, kAnyRank);
  const Dims rows = expect(in, 1, "rows", DType::i32, 1);
  x[0] = rows[0];
  return {{DType::f32, x}};
}

ValueTypes pool(const RuleInput& in) {
  expect_operands(in, 1, 1);
  attributes_of<PoolAttributes>(in);
  const Dims x = expect(in, 0, "x", DType::f32, 2);
  if (x[0] != Symbol::rows) fail("x {} does not have the step's T rows", to_string(x));
  return {{DType::f32, {Symbol::sequences, x[1]}}};
}

ValueTypes tap(const RuleInput& in) {
  expect_operands(in, 1, 1);
  if (attributes_of<TapAttributes>(in).name.empty()) fail("a tap needs a name");
  return {in.operands[0].type};
}

}  // namespace dunlin::rules

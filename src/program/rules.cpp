// The choice of an operation's rule, the soundness of every result, and the shared checks.
#include "program/rules.h"

#include "base/checked.h"
#include "program/rules_detail.h"

namespace dunlin {

namespace rules {

std::string show(const ValueType& type) {
  const std::string dims = to_string(type.dims);
  return type.dtype == DType::f32 ? dims : fmt::format("{} {}", dtype_name(type.dtype), dims);
}

void mismatch(const char* left, const Dims& x, const char* right, const Dims& y) {
  fail("{} {} does not match {} {}", left, to_string(x), right, to_string(y));
}

void expect_operands(const RuleInput& in, size_t least, size_t most) {
  const size_t count = in.operands.size();
  if (count >= least && count <= most) return;
  fail("{} operands, expected {}", count,
       least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most));
}

Dims expect(const RuleInput& in, size_t index, const char* name, DType dtype, size_t rank) {
  const ValueType& type = in.operands[index].type;
  if (type.dtype != dtype) fail("{} {} is not {}", name, show(type), dtype_name(dtype));
  if (rank == kAnyRank && type.dims.empty()) fail("{} {} has no dimension", name, show(type));
  if (rank != kAnyRank && type.dims.size() != rank) {
    fail("{} {} does not have {} dimension{}", name, show(type), rank, rank == 1 ? "" : "s");
  }
  return type.dims;
}

Dims expect_weight(const RuleInput& in, size_t index, const char* name, size_t rank) {
  const Dims dims = expect(in, index, name, DType::f32, rank);
  if (!in.operands[index].is_weight) fail("{} {} is not a weight", name, to_string(dims));
  return dims;
}

void expect_vector(const RuleInput& in, size_t index, const char* name, const Dim& size) {
  const Dims dims = expect_weight(in, index, name, 1);
  if (dims[0] != size) fail("{} {} is not [{}]", name, to_string(dims), to_string(size));
}

ValueType expect_same(const RuleInput& in, size_t first, const char* first_name, size_t second,
                      const char* second_name) {
  const ValueType& x = in.operands[first].type;
  const ValueType& y = in.operands[second].type;
  if (x != y) fail("{} {} does not match {} {}", first_name, show(x), second_name, show(y));
  return x;
}

size_t expect_axis(const char* name, int64_t axis, size_t rank) {
  if (axis < 0 || static_cast<size_t>(axis) >= rank) {
    fail("{} {} is not a dimension of {}", name, axis, rank);
  }
  return static_cast<size_t>(axis);
}

void expect_finite(const char* name, double value) {
  if (!std::isfinite(value)) fail("{} is not finite", name);
}

}  // namespace rules

namespace {

// Every known size positive and their product a number, so that no reader of the Program overflows.
void check_sizes(const ValueType& type) {
  int64_t elements = 1;
  for (const Dim& dim : type.dims) {
    if (!dim.known()) continue;
    const auto product = checked_mul(elements, dim.size);
    if (dim.size < 1 || !product) {
      rules::fail("result {} has an empty or too large size", to_string(type.dims));
    }
    elements = *product;
  }
}

ValueTypes apply_rule(const RuleInput& input) {
  switch (input.op) {
#define DUNLIN_RULE(name) \
  case Op::name:          \
    return rules::name(input)
    DUNLIN_RULE(embed);
    DUNLIN_RULE(linear);
    DUNLIN_RULE(rms_norm);
    DUNLIN_RULE(rope_angles);
    DUNLIN_RULE(rope);
    DUNLIN_RULE(attention);
    DUNLIN_RULE(gated);
    DUNLIN_RULE(route);
    DUNLIN_RULE(experts);
    DUNLIN_RULE(softcap);
    DUNLIN_RULE(act);
    DUNLIN_RULE(gather_rows);
    DUNLIN_RULE(pool);
    DUNLIN_RULE(logits_view);
    DUNLIN_RULE(sample);
    DUNLIN_RULE(tap);
    case Op::add:
    case Op::mul:
      return rules::arithmetic(input);
      DUNLIN_RULE(reshape);
      DUNLIN_RULE(slice);
      DUNLIN_RULE(concat);
      DUNLIN_RULE(constant);
      DUNLIN_RULE(iota);
      DUNLIN_RULE(convert);
      DUNLIN_RULE(broadcast);
      DUNLIN_RULE(transpose);
      DUNLIN_RULE(pad);
      DUNLIN_RULE(reduce);
      DUNLIN_RULE(dot);
      DUNLIN_RULE(gather);
      DUNLIN_RULE(scatter_add);
      DUNLIN_RULE(select);
      DUNLIN_RULE(compare);
      DUNLIN_RULE(top_k);
      DUNLIN_RULE(cumsum);
      DUNLIN_RULE(unary);
      DUNLIN_RULE(binary);
      DUNLIN_RULE(state_write);
      DUNLIN_RULE(state_read);
#undef DUNLIN_RULE
  }
  rules::fail("unknown operation");
}

}  // namespace

ValueTypes result_types(const RuleInput& input) {
  ValueTypes types = apply_rule(input);
  for (const ValueType& type : types) check_sizes(type);
  return types;
}

}  // namespace dunlin

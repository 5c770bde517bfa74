// Rules of the elementwise basic operations, of reductions and of generated values.
#include "base/checked.h"
#include "program/rules_detail.h"

namespace dunlin::rules {

namespace {

void expect_number(const char* name, const ValueType& type) {
  if (type.dtype == DType::boolean) fail("{} {} is not a number", name, show(type));
}

// Trailing dimensions align; a size of 1 repeats.
Dims broadcast_together(const Dims& a, const Dims& b) {
  const Dims& longer = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  Dims result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    Dim& dim = result[offset + i];
    if (dim == 1) {
      dim = shorter[i];
    } else if (shorter[i] != 1 && shorter[i] != dim) {
      mismatch("a", a, "b", b);
    }
  }
  return result;
}

bool representable(double value, DType dtype) {
  switch (dtype) {
    case DType::f32:
      break;
    case DType::i32:
      return value == std::trunc(value) && std::abs(value) <= 2147483647.0;
    case DType::boolean:
      return value == 0.0 || value == 1.0;
  }
  return true;
}

}  // namespace

ValueTypes arithmetic(const RuleInput& in) {
  expect_operands(in, 2, 2);
  attributes_of<NoAttributes>(in);
  const ValueType& a = in.operands[0].type;
  const ValueType& b = in.operands[1].type;
  expect_number("a", a);
  if (a.dtype != b.dtype) fail("a {} does not match b {}", show(a), show(b));
  return {{a.dtype, broadcast_together(a.dims, b.dims)}};
}

ValueTypes binary(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const BinaryKind kind = attributes_of<BinaryAttributes>(in).kind;
  const ValueType type = expect_same(in, 0, "a", 1, "b");
  const bool logical = kind == BinaryKind::logical_and || kind == BinaryKind::logical_or;
  const bool shift = kind == BinaryKind::shift_left || kind == BinaryKind::shift_right;
  if (logical && type.dtype != DType::boolean) fail("a {} is not bool", show(type));
  if (shift && type.dtype != DType::i32) fail("a {} is not i32", show(type));
  if (!logical) expect_number("a", type);
  return {type};
}

ValueTypes unary(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const UnaryKind kind = attributes_of<UnaryAttributes>(in).kind;
  const ValueType& type = in.operands[0].type;
  switch (kind) {
    case UnaryKind::logical_not:
      if (type.dtype != DType::boolean) fail("x {} is not bool", show(type));
      break;
    case UnaryKind::neg:
    case UnaryKind::abs:
      expect_number("x", type);
      break;
    case UnaryKind::exp:
    case UnaryKind::log:
    case UnaryKind::sqrt:
    case UnaryKind::sin:
    case UnaryKind::cos:
      if (type.dtype != DType::f32) fail("x {} is not f32", show(type));
      break;
  }
  return {type};
}

ValueTypes compare(const RuleInput& in) {
  expect_operands(in, 2, 2);
  attributes_of<CompareAttributes>(in);
  const ValueType type = expect_same(in, 0, "a", 1, "b");
  expect_number("a", type);
  return {{DType::boolean, type.dims}};
}

ValueTypes select(const RuleInput& in) {
  expect_operands(in, 3, 3);
  attributes_of<NoAttributes>(in);
  const ValueType type = expect_same(in, 1, "when_true", 2, "when_false");
  const ValueType& condition = in.operands[0].type;
  if (condition.dtype != DType::boolean) fail("condition {} is not bool", show(condition));
  if (condition.dims != type.dims) mismatch("condition", condition.dims, "when_true", type.dims);
  return {type};
}

ValueTypes convert(const RuleInput& in) {
  expect_operands(in, 1, 1);
  return {{attributes_of<ConvertAttributes>(in).to, in.operands[0].type.dims}};
}

ValueTypes constant(const RuleInput& in) {
  expect_operands(in, 0, 0);
  const auto& values = attributes_of<ConstAttributes>(in).values;
  for (const double value : values) {
    if (!representable(value, in.asked.dtype)) {
      fail("{} is not {}", value, dtype_name(in.asked.dtype));
    }
  }
  if (values.size() == 1) return {in.asked};
  std::optional<int64_t> elements = 1;
  for (const Dim& dim : in.asked.dims) {
    elements = elements && dim.known() ? checked_mul(*elements, dim.size) : std::nullopt;
  }
  if (!elements || std::cmp_not_equal(values.size(), *elements)) {
    fail("{} values for {}", values.size(), to_string(in.asked.dims));
  }
  return {in.asked};
}

ValueTypes iota(const RuleInput& in) {
  expect_operands(in, 0, 0);
  expect_axis("axis", attributes_of<AxisAttributes>(in).axis, in.asked.dims.size());
  expect_number("result", in.asked);
  return {in.asked};
}

ValueTypes reduce(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& attributes = attributes_of<ReduceAttributes>(in);
  ValueType type = in.operands[0].type;
  expect_number("x", type);
  const size_t axis = expect_axis("axis", attributes.axis, type.dims.size());
  type.dims.erase(type.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  return {type};
}

ValueTypes cumsum(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const ValueType& type = in.operands[0].type;
  expect_number("x", type);
  expect_axis("axis", attributes_of<AxisAttributes>(in).axis, type.dims.size());
  return {type};
}

}  // namespace dunlin::rules

// Rules of the operations that only rearrange elements.
#include <algorithm>

#include "base/checked.h"
#include "program/rules_detail.h"

namespace dunlin::rules {

namespace {

// The symbols in order, and the product of the known sizes.
struct Extent {
  std::vector<Symbol> symbols;
  int64_t known = 1;
  friend bool operator==(const Extent&, const Extent&) = default;
};

Extent extent_of(const Dims& dims) {
  Extent extent;
  for (const Dim& dim : dims) {
    if (!dim.known()) {
      extent.symbols.push_back(dim.symbol);
      continue;
    }
    const auto product = checked_mul(extent.known, dim.size);
    if (!product) fail("{} is too large", to_string(dims));
    extent.known = *product;
  }
  return extent;
}

}  // namespace

ValueTypes reshape(const RuleInput& in) {
  expect_operands(in, 1, 1);
  attributes_of<NoAttributes>(in);
  const ValueType& x = in.operands[0].type;
  const Dims& dims = in.asked.dims;
  if (extent_of(x.dims) != extent_of(dims)) {
    fail("x {} does not have the elements of {}", show(x), to_string(dims));
  }
  return {{x.dtype, dims}};
}

ValueTypes slice(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& attributes = attributes_of<SliceAttributes>(in);
  ValueType type = in.operands[0].type;
  Dim& dim = type.dims[expect_axis("axis", attributes.axis, type.dims.size())];
  if (!dim.known()) {
    fail("dimension {} of x {} has no known size", attributes.axis, to_string(type.dims));
  }
  if (attributes.begin < 0 || attributes.begin >= attributes.end || attributes.end > dim.size ||
      attributes.stride < 1) {
    fail("[{}, {}) by {} of dimension {} of x {}", attributes.begin, attributes.end,
         attributes.stride, attributes.axis, to_string(type.dims));
  }
  dim = (attributes.end - attributes.begin - 1) / attributes.stride + 1;
  return {type};
}

ValueTypes concat(const RuleInput& in) {
  expect_operands(in, 1, 65536);
  ValueType type = in.operands[0].type;
  const size_t axis = expect_axis("axis", attributes_of<AxisAttributes>(in).axis, type.dims.size());
  int64_t size = 0;
  for (const RuleOperand& part : in.operands) {
    if (part.type.dims.size() != type.dims.size() || !part.type.dims[axis].known()) {
      mismatch("part", part.type.dims, "part", in.operands[0].type.dims);
    }
    const auto sum = checked_add(size, part.type.dims[axis].size);
    if (!sum) fail("dimension {} is too large", axis);
    size = *sum;
    type.dims[axis] = part.type.dims[axis];
    if (part.type != type) {
      fail("part {} does not match part {}", show(part.type), show(in.operands[0].type));
    }
  }
  type.dims[axis] = size;
  return {type};
}

ValueTypes broadcast(const RuleInput& in) {
  expect_operands(in, 1, 1);
  attributes_of<NoAttributes>(in);
  const ValueType& x = in.operands[0].type;
  const Dims& dims = in.asked.dims;
  bool fits = x.dims.size() <= dims.size();
  for (size_t i = 0; fits && i < x.dims.size(); ++i) {
    const Dim& to = dims[dims.size() - x.dims.size() + i];
    fits = x.dims[i] == 1 || x.dims[i] == to;
  }
  if (!fits) mismatch("x", x.dims, "the result", dims);
  return {{x.dtype, dims}};
}

ValueTypes transpose(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& axes = attributes_of<PermutationAttributes>(in).axes;
  const ValueType& x = in.operands[0].type;
  std::vector<int64_t> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  bool permutes = axes.size() == x.dims.size();
  for (size_t i = 0; permutes && i < sorted.size(); ++i) permutes = std::cmp_equal(sorted[i], i);
  if (!permutes) fail("axes [{}] do not permute x {}", fmt::join(axes, ","), show(x));
  ValueType type{x.dtype, {}};
  for (const int64_t axis : axes) type.dims.push_back(x.dims[static_cast<size_t>(axis)]);
  return {type};
}

ValueTypes pad(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& attributes = attributes_of<PadAttributes>(in);
  ValueType type = in.operands[0].type;
  Dim& dim = type.dims[expect_axis("axis", attributes.axis, type.dims.size())];
  if (!dim.known()) {
    fail("dimension {} of x {} has no known size", attributes.axis, to_string(type.dims));
  }
  const auto before = checked_add(dim.size, attributes.before);
  const auto size = before ? checked_add(*before, attributes.after) : std::nullopt;
  if (attributes.before < 0 || attributes.after < 0 || !size) {
    fail("padding of {} and {} around dimension {} of x {}", attributes.before, attributes.after,
         attributes.axis, to_string(type.dims));
  }
  dim = *size;
  return {type};
}

}  // namespace dunlin::rules

// Rules of contractions, of indexed reads and writes, and of selection by size.
#include <algorithm>
#include <span>

#include "program/rules_detail.h"

namespace dunlin::rules {

namespace {

// The dimensions of one side of a dot that neither list names, after checking that the lists name
// each dimension at most once.
Dims free_dims(const char* name, const Dims& dims, const std::vector<int64_t>& batch,
               const std::vector<int64_t>& contract) {
  std::vector<bool> named(dims.size(), false);
  for (const std::vector<int64_t>* axes : {&batch, &contract}) {
    for (const int64_t axis : *axes) {
      const size_t index = expect_axis(fmt::format("axis of {}", name).c_str(), axis, dims.size());
      if (named[index]) fail("dimension {} of {} is named twice", axis, name);
      named[index] = true;
    }
  }
  Dims free;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!named[i]) free.push_back(dims[i]);
  }
  return free;
}

void expect_pairs(const Dims& a, const std::vector<int64_t>& left, const Dims& b,
                  const std::vector<int64_t>& right) {
  bool match = left.size() == right.size();
  for (size_t i = 0; match && i < left.size(); ++i) {
    match = a[static_cast<size_t>(left[i])] == b[static_cast<size_t>(right[i])];
  }
  if (!match) mismatch("a", a, "b", b);
}

}  // namespace

ValueTypes dot(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const auto& attributes = attributes_of<DotAttributes>(in);
  const Dims a = expect(in, 0, "a", DType::f32, kAnyRank);
  const Dims b = expect(in, 1, "b", DType::f32, kAnyRank);
  const Dims left = free_dims("a", a, attributes.batch_left, attributes.contract_left);
  const Dims right = free_dims("b", b, attributes.batch_right, attributes.contract_right);
  expect_pairs(a, attributes.batch_left, b, attributes.batch_right);
  expect_pairs(a, attributes.contract_left, b, attributes.contract_right);
  Dims dims;
  for (const int64_t axis : attributes.batch_left) dims.push_back(a[static_cast<size_t>(axis)]);
  dims.insert(dims.end(), left.begin(), left.end());
  dims.insert(dims.end(), right.begin(), right.end());
  return {{DType::f32, dims}};
}

ValueTypes gather(const RuleInput& in) {
  expect_operands(in, 2, 2);
  const ValueType& x = in.operands[0].type;
  const ValueType& indices = in.operands[1].type;
  if (indices.dtype != DType::i32) fail("indices {} are not i32", show(indices));
  const auto axis = static_cast<std::ptrdiff_t>(
      expect_axis("axis", attributes_of<AxisAttributes>(in).axis, x.dims.size()));
  Dims dims(x.dims.begin(), x.dims.begin() + axis);
  dims.insert(dims.end(), indices.dims.begin(), indices.dims.end());
  dims.insert(dims.end(), x.dims.begin() + axis + 1, x.dims.end());
  return {{x.dtype, dims}};
}

ValueTypes scatter_add(const RuleInput& in) {
  expect_operands(in, 3, 3);
  if (attributes_of<AxisAttributes>(in).axis != 0) fail("axis is not 0");
  const Dims into = expect(in, 0, "into", DType::f32, kAnyRank);
  const Dims indices = expect(in, 1, "indices", DType::i32, 1);
  const Dims updates = expect(in, 2, "updates", DType::f32, into.size());
  if (updates[0] != indices[0]) mismatch("updates", updates, "indices", indices);
  if (!std::equal(into.begin() + 1, into.end(), updates.begin() + 1)) {
    mismatch("into", into, "updates", updates);
  }
  return {{DType::f32, into}};
}

ValueTypes top_k(const RuleInput& in) {
  expect_operands(in, 1, 1);
  const auto& attributes = attributes_of<AxisAttributes>(in);
  Dims dims = expect(in, 0, "x", DType::f32, kAnyRank);
  if (std::cmp_not_equal(attributes.axis, dims.size() - 1)) fail("top_k is of the last dimension");
  if (!dims.back().known() || attributes.k < 1 || attributes.k > dims.back().size) {
    fail("{} of the last dimension of x {}", attributes.k, to_string(dims));
  }
  dims.back() = attributes.k;
  return {{DType::f32, dims}, {DType::i32, dims}};
}

}  // namespace dunlin::rules

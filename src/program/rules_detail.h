// What the rules of the operations share: checks of operands and attributes, and the rules
// themselves by family.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "program/rules.h"

namespace dunlin::rules {

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw RuleError(fmt::format(format, std::forward<Args>(args)...));
}

template <typename A>
const A& attributes_of(const RuleInput& in) {
  const A* attributes = std::get_if<A>(&in.attributes);
  if (attributes == nullptr) fail("attributes of another operation");
  return *attributes;
}

std::string show(const ValueType& type);  // "[T,64]", "i32 [T]"
// Fails with "x [T,512] does not match weight [576,576]".
[[noreturn]] void mismatch(const char* left, const Dims& x, const char* right, const Dims& y);

void expect_operands(const RuleInput& in, size_t least, size_t most);

inline constexpr size_t kAnyRank = static_cast<size_t>(-1);  // but at least one dimension

// The dims of operand `index`, which must have this dtype and rank.
Dims expect(const RuleInput& in, size_t index, const char* name, DType dtype, size_t rank);
// The same, and it must be a weight.
Dims expect_weight(const RuleInput& in, size_t index, const char* name, size_t rank);
// A weight vector [size], such as a bias.
void expect_vector(const RuleInput& in, size_t index, const char* name, const Dim& size);
// Operands `first` and `second` of the same dtype and dims; returns their type.
ValueType expect_same(const RuleInput& in, size_t first, const char* first_name, size_t second,
                      const char* second_name);
// A number in [0, rank).
size_t expect_axis(const char* name, int64_t axis, size_t rank);
void expect_finite(const char* name, double value);
void check_gated(const GatedAttributes& attributes);

ValueTypes embed(const RuleInput& in);
ValueTypes linear(const RuleInput& in);
ValueTypes rms_norm(const RuleInput& in);
ValueTypes rope_angles(const RuleInput& in);
ValueTypes rope(const RuleInput& in);
ValueTypes gated(const RuleInput& in);
ValueTypes softcap(const RuleInput& in);
ValueTypes act(const RuleInput& in);
ValueTypes gather_rows(const RuleInput& in);
ValueTypes pool(const RuleInput& in);
ValueTypes tap(const RuleInput& in);

ValueTypes attention(const RuleInput& in);
ValueTypes state_write(const RuleInput& in);
ValueTypes state_read(const RuleInput& in);

ValueTypes route(const RuleInput& in);
ValueTypes experts(const RuleInput& in);

ValueTypes logits_view(const RuleInput& in);
ValueTypes sample(const RuleInput& in);

ValueTypes arithmetic(const RuleInput& in);  // add, mul
ValueTypes binary(const RuleInput& in);
ValueTypes unary(const RuleInput& in);
ValueTypes compare(const RuleInput& in);
ValueTypes select(const RuleInput& in);
ValueTypes convert(const RuleInput& in);
ValueTypes constant(const RuleInput& in);
ValueTypes iota(const RuleInput& in);
ValueTypes reduce(const RuleInput& in);
ValueTypes cumsum(const RuleInput& in);

ValueTypes reshape(const RuleInput& in);
ValueTypes slice(const RuleInput& in);
ValueTypes concat(const RuleInput& in);
ValueTypes broadcast(const RuleInput& in);
ValueTypes transpose(const RuleInput& in);
ValueTypes pad(const RuleInput& in);

ValueTypes dot(const RuleInput& in);
ValueTypes gather(const RuleInput& in);
ValueTypes scatter_add(const RuleInput& in);
ValueTypes top_k(const RuleInput& in);

}  // namespace dunlin::rules

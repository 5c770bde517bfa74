// Basic operations on small arrays whose results can be read off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backend/reference/basic_ops.h"

namespace dunlin::reference {
namespace {

using testing::ElementsAre;

Array floats(const Shape& shape, const std::vector<float>& values) {
  Array x(DType::f32, shape);
  std::copy(values.begin(), values.end(), x.f32());
  return x;
}

Array integers(const Shape& shape, const std::vector<int32_t>& values) {
  Array x(DType::i32, shape);
  std::copy(values.begin(), values.end(), x.i32());
  return x;
}

std::vector<float> f32(const Array& x) {
  return {x.f32(), x.f32() + x.size()};
}
std::vector<int32_t> i32(const Array& x) {
  return {x.i32(), x.i32() + x.size()};
}
std::vector<int> boolean(const Array& x) {
  return {x.boolean(), x.boolean() + x.size()};
}

const Array kGrid = floats({2, 3}, {1, 2, 3, 4, 5, 6});

TEST(Elementwise, AddAndMulBroadcastTrailingDimensions) {
  const Array row = floats({3}, {10, 20, 30});
  const Array column = floats({2, 1}, {10, 100});
  EXPECT_THAT(f32(add(kGrid, row, {2, 3})), ElementsAre(11, 22, 33, 14, 25, 36));
  EXPECT_THAT(f32(mul(column, kGrid, {2, 3})), ElementsAre(10, 20, 30, 400, 500, 600));
  EXPECT_THAT(f32(mul(column, row, {2, 3})), ElementsAre(100, 200, 300, 1000, 2000, 3000));
}

TEST(Elementwise, IntegersWrapAround) {
  const Array most = integers({1}, {std::numeric_limits<int32_t>::max()});
  const Array least = integers({1}, {std::numeric_limits<int32_t>::min()});
  EXPECT_THAT(i32(add(most, integers({1}, {1}), {1})), ElementsAre(least.i32()[0]));
  EXPECT_THAT(i32(binary(BinaryKind::div, least, integers({1}, {-1}), {1})),
              ElementsAre(least.i32()[0]));
  EXPECT_THAT(i32(binary(BinaryKind::div, most, integers({1}, {0}), {1})), ElementsAre(0));
  EXPECT_THAT(i32(unary(UnaryKind::abs, least)), ElementsAre(least.i32()[0]));
}

TEST(Elementwise, IntegerDivisionGoesTowardsZeroAndShiftsFillWithZeros) {
  const Array x = integers({3}, {-7, 7, -1});
  const Array two = integers({3}, {2, 2, 28});
  EXPECT_THAT(i32(binary(BinaryKind::div, x, two, {3})), ElementsAre(-3, 3, 0));
  EXPECT_THAT(i32(binary(BinaryKind::shift_right, x, two, {3})), ElementsAre(1073741822, 1, 15));
  EXPECT_THAT(i32(binary(BinaryKind::shift_left, x, two, {3})), ElementsAre(-28, 28, -268435456));
  EXPECT_THAT(i32(binary(BinaryKind::shift_left, x, integers({3}, {32, -1, 31}), {3})),
              ElementsAre(0, 0, std::numeric_limits<int32_t>::min()));
}

TEST(Elementwise, CompareSelectAndLogic) {
  const Array other = floats({2, 3}, {3, 2, 1, 9, 5, 0});
  const Array less = compare(CompareKind::lt, kGrid, other, {2, 3});
  const Array equal = compare(CompareKind::eq, kGrid, other, {2, 3});
  EXPECT_THAT(boolean(less), ElementsAre(1, 0, 0, 1, 0, 0));
  EXPECT_THAT(boolean(binary(BinaryKind::logical_or, less, equal, {2, 3})),
              ElementsAre(1, 1, 0, 1, 1, 0));
  EXPECT_THAT(boolean(unary(UnaryKind::logical_not, less)), ElementsAre(0, 1, 1, 0, 1, 1));
  EXPECT_THAT(f32(select(less, kGrid, other, {2, 3})), ElementsAre(1, 2, 1, 4, 5, 0));
}

TEST(Elementwise, ConvertTruncatesAndSaturates) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Array x = floats({6}, {-1.75f, 1.75f, 3e9f, -3e9f, nan, -0.5f});
  EXPECT_THAT(i32(convert(x, DType::i32)), ElementsAre(-1, 1, 2147483647, -2147483647 - 1, 0, 0));
  EXPECT_THAT(boolean(convert(floats({2}, {0.0f, -2.0f}), DType::boolean)), ElementsAre(0, 1));
}

TEST(Elementwise, AnglesOutsideTheRangeAreNaN) {
  const Array x = floats({2}, {1e9f, std::numeric_limits<float>::infinity()});
  for (const float value : f32(unary(UnaryKind::sin, x))) EXPECT_TRUE(std::isnan(value));
  for (const float value : f32(unary(UnaryKind::cos, x))) EXPECT_TRUE(std::isnan(value));
}

TEST(Elementwise, ConstantAndIota) {
  EXPECT_THAT(f32(constant({{1.5}}, DType::f32, {3})), ElementsAre(1.5f, 1.5f, 1.5f));
  EXPECT_THAT(i32(constant({{3, 4}}, DType::i32, {2})), ElementsAre(3, 4));
  EXPECT_THAT(i32(iota(0, DType::i32, {2, 3})), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(f32(iota(1, DType::f32, {2, 3})), ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(Layout, MovesElements) {
  EXPECT_THAT(f32(transpose(kGrid, {{1, 0}}, {3, 2})), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(f32(slice(kGrid, {1, 0, 3, 2}, {2, 2})), ElementsAre(1, 3, 4, 6));
  EXPECT_THAT(f32(pad(kGrid, {0, 1, 0, 9.0}, {3, 3})), ElementsAre(9, 9, 9, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(f32(concat({&kGrid, &kGrid}, 1, {2, 6})),
              ElementsAre(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6));
  EXPECT_THAT(f32(broadcast(floats({2, 1}, {7, 8}), {2, 2, 2})),
              ElementsAre(7, 7, 8, 8, 7, 7, 8, 8));
  EXPECT_EQ(f32(reshape(kGrid, {3, 2})), f32(kGrid));
}

TEST(Layout, GatherReplacesTheAxisAndStaysInside) {
  const Array indices = integers({2, 2}, {2, 0, -5, 99});
  EXPECT_THAT(f32(gather(kGrid, indices, 1, {2, 2, 2})), ElementsAre(3, 1, 1, 3, 6, 4, 4, 6));
  EXPECT_THAT(f32(gather(kGrid, integers({1}, {1}), 0, {1, 3})), ElementsAre(4, 5, 6));
}

TEST(Reductions, SumAndMaxOverAnyAxis) {
  using Kind = ReduceAttributes::Kind;
  EXPECT_THAT(f32(reduce(kGrid, {Kind::sum, 0}, {3})), ElementsAre(5, 7, 9));
  EXPECT_THAT(f32(reduce(kGrid, {Kind::sum, 1}, {2})), ElementsAre(6, 15));
  EXPECT_THAT(f32(reduce(kGrid, {Kind::max, 0}, {3})), ElementsAre(4, 5, 6));
  EXPECT_THAT(i32(reduce(integers({2, 2}, {5, -9, 1, 1}), {Kind::max, 1}, {2})), ElementsAre(5, 1));
}

TEST(Reductions, DotContractsTheNamedAxes) {
  const Array other = floats({2, 3}, {1, 0, 1, 0, 1, 0});
  EXPECT_THAT(f32(dot(kGrid, other, {{}, {}, {1}, {1}}, {2, 2})), ElementsAre(4, 2, 10, 5));
  EXPECT_THAT(f32(dot(kGrid, other, {{0}, {0}, {1}, {1}}, {2})), ElementsAre(4, 5));
  EXPECT_THAT(f32(dot(kGrid, other, {{}, {}, {0, 1}, {0, 1}}, {})), ElementsAre(9));
  EXPECT_THAT(f32(dot(kGrid, floats({3}, {1, 1, 1}), {{}, {}, {1}, {0}}, {2})), ElementsAre(6, 15));
}

TEST(Reductions, ScatterAddsRowsInOrderAndDropsOthers) {
  const Array into = floats({2, 2}, {1, 1, 1, 1});
  const Array updates = floats({3, 2}, {1, 2, 10, 20, 5, 5});
  EXPECT_THAT(f32(scatter_add(into, integers({3}, {1, 1, 2}), updates)), ElementsAre(1, 1, 12, 23));
}

TEST(Reductions, CumsumAndTopK) {
  EXPECT_THAT(f32(cumsum(kGrid, 1)), ElementsAre(1, 3, 6, 4, 9, 15));
  EXPECT_THAT(f32(cumsum(kGrid, 0)), ElementsAre(1, 2, 3, 5, 7, 9));
  Array values(DType::f32, {2, 2});
  Array indices(DType::i32, {2, 2});
  top_k(floats({2, 3}, {1, 9, 9, 4, 3, 5}), 2, values, indices);
  EXPECT_THAT(f32(values), ElementsAre(9, 9, 5, 4));
  EXPECT_THAT(i32(indices), ElementsAre(1, 2, 2, 0));
}

}  // namespace
}  // namespace dunlin::reference

// Every rule of the basic operations refuses what it must; the types of their results.
#include <gtest/gtest.h>

#include "rule_cases.h"

namespace dunlin {
namespace {

TEST(Rules, Elementwise) {
  expect_errors({
      {"a [T,8] does not match b i32 [T,8]",
       [](Maker& m) {
         const Tensor a = m.f32({kT, 8});
         add(a, m.i32({kT, 8}));
       }},
      {"a bool [T] is not a number",
       [](Maker& m) {
         const Tensor a = m.boolean({kT});
         mul(a, a);
       }},
      {"a [T,8] does not match b [8]",
       [](Maker& m) {
         const Tensor a = m.f32({kT, 8});
         binary(a, m.f32({8}), BinaryKind::sub);
       }},
      {"a [T] is not bool",
       [](Maker& m) {
         const Tensor a = m.f32({kT});
         binary(a, a, BinaryKind::logical_or);
       }},
      {"a [T] is not i32",
       [](Maker& m) {
         const Tensor a = m.f32({kT});
         binary(a, a, BinaryKind::shift_right);
       }},
      {"x i32 [T] is not f32", [](Maker& m) { unary(m.i32({kT}), UnaryKind::exp); }},
      {"x [T] is not bool", [](Maker& m) { unary(m.f32({kT}), UnaryKind::logical_not); }},
      {"x bool [T] is not a number", [](Maker& m) { unary(m.boolean({kT}), UnaryKind::neg); }},
      {"a [T] does not match b i32 [T]",
       [](Maker& m) {
         const Tensor a = m.f32({kT});
         compare(a, m.i32({kT}), CompareKind::lt);
       }},
      {"condition [T] does not match when_true [T,8]",
       [](Maker& m) {
         const Tensor a = m.f32({kT, 8});
         select(m.boolean({kT}), a, a);
       }},
      {"condition [T] is not bool",
       [](Maker& m) {
         const Tensor a = m.f32({kT});
         select(a, a, a);
       }},
  });
}

TEST(Rules, GeneratedAndReduced) {
  expect_errors({
      {"3 values for [2,2]",
       [](Maker& m) { constant(m.recorder(), {2, 2}, {1, 2, 3}, DType::f32); }},
      {"2 values for [T]", [](Maker& m) { constant(m.recorder(), {kT}, {1, 2}, DType::f32); }},
      {"0.5 is not i32", [](Maker& m) { constant(m.recorder(), {2}, {0.5}, DType::i32); }},
      {"3000000000 is not i32", [](Maker& m) { constant(m.recorder(), {2}, {3e9}, DType::i32); }},
      {"2 is not bool", [](Maker& m) { constant(m.recorder(), {2}, {2}, DType::boolean); }},
      {"empty or too large", [](Maker& m) { constant(m.recorder(), {kT, 0}, {1}, DType::f32); }},
      {"empty or too large",
       [](Maker& m) {
         constant(m.recorder(), {int64_t{1} << 40, int64_t{1} << 40}, {1}, DType::f32);
       }},
      {"axis 1 is not a dimension of 1", [](Maker& m) { iota(m.recorder(), {4}, 1, DType::i32); }},
      {"result bool [4] is not a number",
       [](Maker& m) { iota(m.recorder(), {4}, 0, DType::boolean); }},
      {"axis -1 is not a dimension of 2",
       [](Maker& m) { reduce(m.f32({kT, 8}), ReduceAttributes::Kind::sum, -1); }},
      {"axis 2 is not a dimension of 2", [](Maker& m) { cumsum(m.f32({kT, 8}), 2); }},
  });
}

TEST(Rules, Views) {
  expect_errors({
      {"x [T,8] does not have the elements of [T,2,5]",
       [](Maker& m) { reshape(m.f32({kT, 8}), {kT, 2, 5}); }},
      {"x [T,8] does not have the elements of [R,8]",
       [](Maker& m) { reshape(m.f32({kT, 8}), {kR, 8}); }},
      {"x [T,R] does not have the elements of [R,T]",
       [](Maker& m) { reshape(m.f32({kT, kR}), {kR, kT}); }},
      {"dimension 0 of x [T,8] has no known size",
       [](Maker& m) { slice(m.f32({kT, 8}), {0, 0, 1}); }},
      {"[4, 9) by 1 of dimension 1", [](Maker& m) { slice(m.f32({kT, 8}), {1, 4, 9}); }},
      {"[4, 4) by 1 of dimension 1", [](Maker& m) { slice(m.f32({kT, 8}), {1, 4, 4}); }},
      {"[0, 8) by 0 of dimension 1", [](Maker& m) { slice(m.f32({kT, 8}), {1, 0, 8, 0}); }},
      {"part [R,8] does not match part [T,8]",
       [](Maker& m) {
         const Tensor a = m.f32({kT, 8});
         concat({a, m.f32({kR, 8})}, 1);
       }},
      {"part [T,8] does not match part [T,8]",
       [](Maker& m) {
         const Tensor a = m.f32({kT, 8});
         concat({a, a}, 0);
       }},
      {"x [T,8] does not match the result [8,T]",
       [](Maker& m) { broadcast(m.f32({kT, 8}), {8, kT}); }},
      {"x [T,8] does not match the result [8]", [](Maker& m) { broadcast(m.f32({kT, 8}), {8}); }},
      {"axes [0,0] do not permute x [T,8]", [](Maker& m) { transpose(m.f32({kT, 8}), {0, 0}); }},
      {"padding of -1 and 0", [](Maker& m) { pad(m.f32({kT, 8}), {1, -1, 0}); }},
      {"dimension 0 of x [T,8] has no known size",
       [](Maker& m) { pad(m.f32({kT, 8}), {0, 1, 1}); }},
  });
}

TEST(Rules, ContractedAndIndexed) {
  const auto contract = [](Maker& m, DotAttributes attributes) {
    const Tensor a = m.f32({kT, 8});
    dot(a, m.f32({4, 6}), std::move(attributes));
  };
  expect_errors({
      {"a [T,8] does not match b [4,6]", [&](Maker& m) { contract(m, {{}, {}, {1}, {1}}); }},
      {"a [T,8] does not match b [4,6]", [&](Maker& m) { contract(m, {{}, {}, {1}, {}}); }},
      {"dimension 1 of a is named twice", [&](Maker& m) { contract(m, {{1}, {0}, {1}, {1}}); }},
      {"axis of b 2 is not a dimension of 2", [&](Maker& m) { contract(m, {{}, {}, {1}, {2}}); }},
      {"indices [T] are not i32",
       [](Maker& m) {
         const Tensor x = m.f32({kT});
         gather(x, x, 0);
       }},
      {"axis 1 is not a dimension of 1",
       [](Maker& m) { gather(m.f32({kT}), m.recorder().tokens(), 1); }},
      {"into [4,8] does not match updates [T,6]",
       [](Maker& m) {
         const Tensor into = m.f32({4, 8});
         scatter_add(into, m.recorder().tokens(), m.f32({kT, 6}));
       }},
      {"updates [R,8] does not match indices [T]",
       [](Maker& m) {
         const Tensor into = m.f32({4, 8});
         scatter_add(into, m.recorder().tokens(), m.f32({kR, 8}));
       }},
      {"9 of the last dimension of x [T,8]", [](Maker& m) { top_k(m.f32({kT, 8}), 9); }},
      {"2 of the last dimension of x [8,T]", [](Maker& m) { top_k(m.f32({8, kT}), 2); }},
  });
}

TEST(Rules, ResultTypes) {
  const Result<Program> result = record("test", {}, [](Recorder& recorder) {
    Maker m(recorder);
    const auto expect = [](const Tensor& tensor, const std::string& dims) {
      EXPECT_EQ(to_string(tensor.dims()), dims);
    };
    expect(add(m.f32({kT, 1, 4}), constant(recorder, {3, 1}, {1}, DType::f32)), "[T,3,4]");
    expect(slice(m.f32({8}), {0, 1, 8, 3}), "[3]");
    expect(slice(m.f32({8}), {0, 1, 7, 3}), "[2]");
    const Tensor a = m.f32({2, kT, 3, 5});
    const Tensor b = m.f32({5, kR, kT});
    expect(dot(a, b, {{1}, {2}, {3}, {0}}), "[T,2,3,R]");
    const Tensor table = m.f32({6, 7, 8});
    expect(gather(table, m.i32({kT, 2}), 1), "[6,T,2,8]");
    expect(pool(m.f32({kT, 4}), PoolAttributes::Kind::last), "[S,4]");
    expect(pad(m.f32({3, 4}), {0, 1, 2}), "[6,4]");
    expect(transpose(m.f32({kT, 4, 5}), {2, 0, 1}), "[5,T,4]");
    expect(reduce(m.i32({kT, 4, 5}), ReduceAttributes::Kind::max, 1), "[T,5]");
    recorder.output("y", a);
  });
  EXPECT_TRUE(result.ok()) << result.error().message;
}

}  // namespace
}  // namespace dunlin

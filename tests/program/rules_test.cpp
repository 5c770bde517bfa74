// Every rule of every operation refuses what it must, at the model's line.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "program/ops.h"

namespace dunlin {
namespace {

// Makes operands by shape.
class Maker {
 public:
  explicit Maker(Recorder& recorder) : recorder_(recorder) {}

  Tensor f32(Dims dims) { return constant(recorder_, std::move(dims), {0.5}, DType::f32); }
  Tensor i32(Dims dims) { return constant(recorder_, std::move(dims), {1}, DType::i32); }
  Tensor boolean(Dims dims) { return constant(recorder_, std::move(dims), {1}, DType::boolean); }
  Tensor weight(std::initializer_list<int64_t> sizes) {
    WeightDeclaration declaration{fmt::format("w{}.weight", count_++), {}, {}};
    for (const int64_t size : sizes) declaration.dims.push_back({{Axis::embed, size}});
    return recorder_.declare_weight(std::move(declaration));
  }
  Recorder& recorder() { return recorder_; }

 private:
  Recorder& recorder_;
  int count_ = 0;
};

struct Case {
  const char* error;
  std::function<void(Maker&)> forward;
};

constexpr Symbol kT = Symbol::rows;
constexpr Symbol kR = Symbol::logit_rows;

void expect_errors(const std::vector<Case>& cases) {
  for (const Case& test : cases) {
    const Result<Program> result = record("test", {.taps = {"*"}}, [&test](Recorder& recorder) {
      Maker make(recorder);
      test.forward(make);
    });
    ASSERT_FALSE(result.ok()) << test.error;
    EXPECT_EQ(result.error().kind, ErrorKind::model);
    EXPECT_NE(result.error().message.find(test.error), std::string::npos)
        << result.error().message << "\nexpected: " << test.error;
  }
}

TEST(Rules, AnErrorNamesFileLineOperationNodeAndShapes) {
  int line = 0;
  const Result<Program> result = record("test", {}, [&line](Recorder& recorder) {
    Maker make(recorder);
    const Scope layer(recorder, "layers", 0);
    const Scope part(recorder, "attend");
    const Tensor q = recorder.weights().matrix("model.layers.0.self_attn.q_proj.weight",
                                               {{Axis::q_group, 576}}, {{Axis::embed, 576}});
    const Tensor x = make.f32({kT, 512});
    line = __LINE__ + 1;
    linear(x, q);
  });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message,
            "tests/program/rules_test.cpp:" + std::to_string(line) +
                ": linear layers.0.attend.q_proj: x [T,512] does not match weight [576,576]");
}

TEST(Rules, AnOperatorsErrorIsAtItsLine) {
  int line = 0;
  const Result<Program> result = record("test", {}, [&line](Recorder& recorder) {
    Maker make(recorder);
    const Tensor a = make.f32({kT, 8});
    const Tensor b = make.f32({kT, 6});
    line = __LINE__ + 1;
    a + b;
  });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "tests/program/rules_test.cpp:" + std::to_string(line) +
                                        ": add add: a [T,8] does not match b [T,6]");
}

TEST(Rules, OperandsMustBeDefined) {
  expect_errors({
      {"linear: operand 1 is undefined", [](Maker& m) { linear(m.f32({kT, 8}), Tensor()); }},
      {"reshape: operand 0 is undefined", [](Maker&) { reshape(Tensor(), {kT}); }},
      {"concat: no operand", [](Maker&) { concat({}, 0); }},
      {"output y: an undefined value", [](Maker& m) { m.recorder().output("y", Tensor()); }},
  });
}

TEST(Rules, Rows) {
  expect_errors({
      {"embed embed: ids [T] is not i32", [](Maker& m) { embed(m.f32({kT}), m.weight({4, 8})); }},
      {"weight [4,8] is not a weight",
       [](Maker& m) { embed(m.recorder().tokens(), m.f32({4, 8})); }},
      {"scale is not finite",
       [](Maker& m) { embed(m.recorder().tokens(), m.weight({4, 8}), INFINITY); }},
      {"linear w0: x i32 [T,8] is not f32",
       [](Maker& m) { linear(m.i32({kT, 8}), m.weight({4, 8})); }},
      {"weight [8] does not have 2 dimensions",
       [](Maker& m) { linear(m.f32({kT, 8}), m.weight({8})); }},
      {"bias [8] is not [4]",
       [](Maker& m) {
         const Tensor weight = m.weight({4, 8});
         linear(m.f32({kT, 8}), weight, m.weight({8}));
       }},
      {"x [] has no dimension", [](Maker& m) { linear(m.f32({}), m.weight({4, 8})); }},
      {"rms_norm rms_norm: x [T,8] does not match weight [6]",
       [](Maker& m) { rms_norm(m.f32({kT, 8}), m.weight({6}), {}); }},
      {"eps -1 is not", [](Maker& m) { rms_norm(m.f32({kT, 8}), m.weight({8}), {.eps = -1.0f}); }},
      {"gate i32 [T,8] is not f32",
       [](Maker& m) { gated(m.i32({kT, 8}), m.recorder().tokens(), {}); }},
      {"gate [T,8] does not match up [R,8]",
       [](Maker& m) {
         const Tensor gate = m.f32({kT, 8});
         gated(gate, m.f32({kR, 8}), {});
       }},
      {"limit 0 is not positive",
       [](Maker& m) {
         const Tensor gate = m.f32({kT, 8});
         gated(gate, gate, {.kind = GateKind::oai, .limit = 0.0f});
       }},
      {"cap 0 is not positive", [](Maker& m) { softcap(m.f32({kT, 8}), 0.0f); }},
      {"rows [R] is not i32",
       [](Maker& m) { gather_rows(m.f32({kT, 8}), m.recorder().temperatures()); }},
      {"x [R,8] does not have the step's T rows",
       [](Maker& m) { pool(m.f32({kR, 8}), PoolAttributes::Kind::mean); }},
      {"a tap needs a name", [](Maker& m) { tap(m.f32({kT, 8}), ""); }},
  });
}

TEST(Rules, Positions) {
  const auto rotate = [](Maker& m, int64_t width, int64_t rotary_dim) {
    const Tensor angles = rope_angles(m.recorder().positions(), {{1.0f, 0.5f}, 1.0f});
    rope(m.f32({kT, 3, width}), angles, {rotary_dim});
  };
  expect_errors({
      {"inv_freq is empty", [](Maker& m) { rope_angles(m.recorder().positions(), {{}, 1.0f}); }},
      {"inv_freq is not finite",
       [](Maker& m) { rope_angles(m.recorder().positions(), {{NAN}, 1.0f}); }},
      {"rotary_dim 3 is not an even", [&](Maker& m) { rotate(m, 4, 3); }},
      {"rotary_dim 6 is not an even", [&](Maker& m) { rotate(m, 4, 6); }},
      {"rotary_dim 0 is not an even", [&](Maker& m) { rotate(m, 4, 0); }},
      {"x [T,3,8] does not match angles [T,2,2]", [&](Maker& m) { rotate(m, 8, 6); }},
  });
}

struct Heads {
  int64_t q = 4, k = 2, q_width = 8, k_width = 8;
  AttentionAttributes attributes{.stateful = false};
};

void attend(Maker& m, const Heads& heads) {
  const Tensor q = m.f32({kT, heads.q, heads.q_width});
  const Tensor k = m.f32({kT, heads.k, heads.k_width});
  attention(q, k, k, Tensor(), heads.attributes);
}

TEST(Rules, Attention) {
  expect_errors({
      {"the heads of q [T,3,8] are not a multiple of those of k [T,2,8]",
       [](Maker& m) { attend(m, {.q = 3}); }},
      {"q [T,4,8] does not match k [T,2,16]", [](Maker& m) { attend(m, {.k_width = 16}); }},
      {"window -1 is negative", [](Maker& m) { attend(m, {.attributes = {.window = -1}}); }},
      {"softcap -1 is negative", [](Maker& m) { attend(m, {.attributes = {.softcap = -1.0f}}); }},
      {"scale is not finite", [](Maker& m) { attend(m, {.attributes = {.scale = NAN}}); }},
      {"KV group 0 of 0", [](Maker& m) { attend(m, {.attributes = {}}); }},
      {"k [T,2,8] does not match v [T,2,4]",
       [](Maker& m) {
         const Tensor q = m.f32({kT, 2, 8});
         attention(q, q, m.f32({kT, 2, 4}), Tensor(), {.stateful = false});
       }},
      {"sinks [3] is not [2]",
       [](Maker& m) {
         const Tensor q = m.f32({kT, 2, 8});
         attention(q, q, q, m.weight({3}), {.stateful = false});
       }},
      {"k [R,2,8] does not have the step's T rows",
       [](Maker& m) {
         const Tensor q = m.f32({kR, 2, 8});
         attention(q, q, q, Tensor(), {.stateful = false});
       }},
  });
}

TEST(Rules, State) {
  expect_errors({
      {"k [T,2,8] does not match its KV group of 2 heads of width 16",
       [](Maker& m) {
         m.recorder().kv_layer(0, 2, 16);
         attend(m, {.attributes = {}});
       }},
      {"window 5 in a KV group with window 3",
       [](Maker& m) {
         m.recorder().kv_layer(3, 2, 8);
         attend(m, {.attributes = {.window = 5}});
       }},
      {"layer 1 of KV group 0 with 1 layers",
       [](Maker& m) {
         m.recorder().kv_layer(0, 2, 8);
         attend(m, {.attributes = {.layer = 1}});
       }},
      {"state_write state_write: k [T,2,4] does not match its KV group",
       [](Maker& m) {
         m.recorder().kv_layer(0, 2, 8);
         const Tensor k = m.f32({kT, 2, 4});
         state_write(k, k, {});
       }},
      {"state_read state_read: KV group 1 of 0",
       [](Maker& m) { state_read(m.recorder(), {1, 0}); }},
  });
}

struct Mixture {
  int64_t k = 2, chosen_experts = 4, up_ffn = 6, down_ffn = 6;
  bool some_biases = false;
};

void mix(Maker& m, const Mixture& mixture) {
  const Tensor x = m.f32({kT, 8});
  const Routes routes = route(x, m.weight({mixture.chosen_experts, 8}), Tensor(), {mixture.k});
  ExpertWeights weights;
  weights.gate = m.weight({4, 6, 8});
  weights.up = m.weight({4, mixture.up_ffn, 8});
  weights.down = m.weight({4, 8, mixture.down_ffn});
  if (mixture.some_biases) weights.gate_bias = m.weight({4, 6});
  experts(x, routes, weights, {});
}

TEST(Rules, MixtureOfExperts) {
  expect_errors({
      {"0 of the experts of weight [4,8]", [](Maker& m) { mix(m, {.k = 0}); }},
      {"5 of the experts of weight [4,8]", [](Maker& m) { mix(m, {.k = 5}); }},
      {"experts [T,5] does not match gate [4,6,8]",
       [](Maker& m) { mix(m, {.k = 5, .chosen_experts = 5}); }},
      {"up [4,5,8] is not [4,6,8]", [](Maker& m) { mix(m, {.up_ffn = 5}); }},
      {"down [4,8,5] is not [4,8,6]", [](Maker& m) { mix(m, {.down_ffn = 5}); }},
      {"all three biases or none", [](Maker& m) { mix(m, {.some_biases = true}); }},
      {"route route: x [T,6] does not match weight [4,8]",
       [](Maker& m) { route(m.f32({kT, 6}), m.weight({4, 8}), Tensor(), {1}); }},
  });
}

TEST(Rules, Sampling) {
  const auto sample_of = [](Maker& m, int64_t statistics, int64_t ids) {
    LogitsViewTensors view;
    view.statistics = m.f32({kR, statistics});
    view.ids = m.i32({kR, ids});
    view.logits = m.f32({kR, 4});
    sample(view, m.recorder().temperatures(), m.recorder().random());
  };
  expect_errors({
      {"9 candidates of logits [R,8]",
       [](Maker& m) { logits_view(m.f32({kR, 8}), m.recorder().temperatures(), 9); }},
      {"0 candidates of logits [R,8]",
       [](Maker& m) { logits_view(m.f32({kR, 8}), m.recorder().temperatures(), 0); }},
      {"temperatures [R] does not match logits [T,8]",
       [](Maker& m) { logits_view(m.f32({kT, 8}), m.recorder().temperatures(), 2); }},
      {"ids [R,3] does not match logits [R,4]", [&](Maker& m) { sample_of(m, 5, 3); }},
      {"statistics [R,4] does not match ids [R,4]", [&](Maker& m) { sample_of(m, 4, 4); }},
  });
}

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

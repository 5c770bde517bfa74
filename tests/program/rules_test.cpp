// Every rule of the semantic operations refuses what it must, at the model's line.
#include <gtest/gtest.h>

#include <cmath>

#include "rule_cases.h"

namespace dunlin {
namespace {

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
      {"keeps_hidden is for experts",
       [](Maker& m) {
         const Tensor gate = m.f32({kT, 8});
         gated(gate, gate, {.keeps_hidden = true});
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

}  // namespace
}  // namespace dunlin

// The text of Programs, whole.
#include <gtest/gtest.h>

#include "program/definitions.h"
#include "program/ops.h"

namespace dunlin {
namespace {

void printed_forward(Recorder& recorder) {
  const AxisList width{{Axis::embed, 8}};
  const AxisList queries{{Axis::kv_heads, 2}, {Axis::q_group, 1}, {Axis::head_dim, 4}};
  const WeightScope weights = recorder.weights().scope("model");
  const Tensor embedding = weights.matrix("embed_tokens.weight", {{Axis::vocab, 16}}, width);
  const Tensor x = embed(recorder.tokens(), embedding);
  const Scope layer(recorder, "layers", 0);
  const Tensor q =
      linear(x, weights.scope("layers").scope(0).matrix("q_proj.weight", queries, width));
  const Tensor angles = rope_angles(recorder.positions(), {{1.0f, 0.25f}, 1.0f});
  const Tensor heads = rope(reshape(q, {Symbol::rows, 2, 4}), angles, {4});
  const auto place = recorder.kv_layer(128, 2, 4);
  const Tensor y = attention(heads, heads, heads, Tensor(),
                             {.window = 128, .scale = 0.5f, .group = place.group});
  const Tensor rows = gather_rows(reshape(y, {Symbol::rows, 8}), recorder.logit_rows());
  const Tensor best = top_k(tap(linear(rows, embedding), "logits"), 2).indices;
  recorder.output("best", best);
}

TEST(Print, AProgram) {
  EXPECT_EQ(print(record("example", {.taps = {"logits"}}, printed_forward).value()),
            "program example\n"
            "kv group 0: window 128, kv_heads 2, head_dim 4, layers 1\n"
            "weight model.embed_tokens.weight [vocab 16, embed 8]\n"
            "weight model.layers.0.q_proj.weight [kv_heads 2 * q_group 1 * head_dim 4, embed 8]\n"
            "%5 = embed(tokens, model.embed_tokens.weight) {scale=1} : f32 [T,8]  embed\n"
            "%6 = linear(%5, model.layers.0.q_proj.weight) : f32 [T,8]  layers.0.q_proj\n"
            "%7 = rope_angles(positions) {inv_freq=[1,0.25], scale=1} : f32 [T,2,2]  "
            "layers.0.rope_angles\n"
            "%8 = reshape(%6) : f32 [T,2,4]  layers.0.reshape\n"
            "%9 = rope(%8, %7) {rotary_dim=4} : f32 [T,2,4]  layers.0.rope\n"
            "%10 = attention(%9, %9, %9) {mask=causal, window=128, scale=0.5, softcap=0, "
            "has_sinks=false, stateful=true, group=0, layer=0} : f32 [T,2,4]  layers.0.attention\n"
            "%11 = reshape(%10) : f32 [T,8]  layers.0.reshape_2\n"
            "%12 = gather_rows(%11, logit_rows) : f32 [R,8]  layers.0.gather_rows\n"
            "%13 = linear(%12, model.embed_tokens.weight) : f32 [R,16]  layers.0.embed_tokens\n"
            "%14 = tap(%13) {name=logits} : f32 [R,16]  layers.0.tap\n"
            "%15, %16 = top_k(%13) {axis=1, k=2} : f32 [R,2], i32 [R,2]  layers.0.top_k\n"
            "output logits = %14\n"
            "output best = %16\n");
}

TEST(Print, StateHasNoResults) {
  const auto write = [](Recorder& recorder) {
    const auto place = recorder.kv_layer(0, 1, 2);
    const Tensor k = constant(recorder, {Symbol::rows, 1, 2}, {0.5}, DType::f32);
    state_write(k, k, {place.group, place.layer});
    recorder.output("positions", state_read(recorder, {place.group, place.layer}).positions);
  };
  EXPECT_EQ(print(record("state", {}, write).value()),
            "program state\n"
            "kv group 0: window 0, kv_heads 1, head_dim 2, layers 1\n"
            "%0 = constant() {values=[0.5]} : f32 [T,1,2]  constant\n"
            "state_write(%0, %0) {group=0, layer=0}  state_write\n"
            "%1, %2, %3 = state_read() {group=0, layer=0} : f32 [S,C,1,2], f32 [S,C,1,2], i32 "
            "[S,C]  state_read\n"
            "output positions = %3\n");
}

}  // namespace
}  // namespace dunlin

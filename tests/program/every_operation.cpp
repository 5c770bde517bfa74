// The numbers are chosen, not computed by a mathematical library, so that hashes are the same
// everywhere.
#include "every_operation.h"

#include "program/ops.h"

namespace dunlin {

namespace {

constexpr int64_t kWidth = 8;

Tensor matrix(Recorder& recorder, const std::string& name, int64_t out, int64_t in) {
  return recorder.weights().matrix(name, {{Axis::ffn, out}}, {{Axis::embed, in}});
}

Tensor vector(Recorder& recorder, const std::string& name, int64_t size) {
  return recorder.weights().vector(name, {{Axis::embed, size}});
}

Tensor attend(Recorder& recorder, Tensor x) {  // [T,8] -> [T,8], statefully
  const Tensor angles = rope_angles(recorder.positions(), {{1.0f, 0.25f}, 1.5f});
  const Tensor q = rope(reshape(x, {Symbol::rows, 2, 4}), angles, {4});
  const Tensor k =
      reshape(linear(x, matrix(recorder, "k_proj.weight", 4, kWidth)), {Symbol::rows, 1, 4});
  const auto place = recorder.kv_layer(3, 1, 4);
  const Tensor sinks = vector(recorder, "sinks", 2);
  const Tensor y = attention(
      q, k, k, sinks,
      {.window = 3, .scale = 0.5f, .softcap = 30.0f, .group = place.group, .layer = place.layer});
  AttentionAttributes full{.mask = MaskKind::full, .scale = 0.5f, .stateful = false};
  const Tensor z = attention(q, k, k, Tensor(), full);
  return reshape(y + z, {Symbol::rows, kWidth});
}

Tensor mix(Recorder& recorder, Tensor x) {  // [T,8] -> [T,8]
  const Tensor router = matrix(recorder, "router.weight", 4, kWidth);
  const Routes first = route(x, router, Tensor(), {2, true});
  const Routes routes = route(x, router, vector(recorder, "router.bias", 4), {2, false});
  const auto stack = [&](const std::string& name, int64_t out, int64_t in) {
    return recorder.weights().stack(name, {{Axis::experts, 4}}, {{Axis::ffn, out}},
                                    {{Axis::embed, in}});
  };
  ExpertWeights weights;
  weights.gate = stack("gate", 6, kWidth);
  weights.up = stack("up", 6, kWidth);
  weights.down = stack("down", kWidth, 6);
  const Tensor unbiased = experts(x, first, weights, {GateKind::silu});
  weights.gate_bias = matrix(recorder, "gate_bias", 4, 6);
  weights.up_bias = matrix(recorder, "up_bias", 4, 6);
  weights.down_bias = matrix(recorder, "down_bias", 4, kWidth);
  return unbiased + experts(x, routes, weights, {GateKind::oai, 1.5f, 7.0f});
}

Tensor activations(Tensor x) {
  const Tensor silu = act(x, ActAttributes::Kind::silu);
  const Tensor gelu = act(silu, ActAttributes::Kind::gelu_tanh);
  const Tensor sigmoid = act(gelu, ActAttributes::Kind::sigmoid);
  return softcap(gated(x, sigmoid, {GateKind::gelu_tanh}), 20.0f);
}

// Those that no definition uses, and the state by itself.
void record_basic(Recorder& recorder, Tensor x) {
  const Tensor padded = pad(x, {1, 1, 2, 0.5});
  const Tensor scattered = scatter_add(padded, recorder.positions(), padded);
  recorder.output("scattered", scattered);
  const Tensor shifted = binary(recorder.tokens(), recorder.positions(), BinaryKind::shift_left);
  recorder.output("shifted", shifted);
  const auto place = recorder.kv_layer(0, 2, 4);
  const Tensor k = reshape(x, {Symbol::rows, 2, 4});
  state_write(k, k, {place.group, place.layer});
  recorder.output("slots", state_read(recorder, {place.group, place.layer}).k);
  const Tensor ids = iota(recorder, {4}, 0, DType::i32);
  const Tensor few =
      compare(ids, constant(recorder, {4}, {3, 1, 2, 0}, DType::i32), CompareKind::lt);
  const Tensor numbers = convert(ids, DType::f32);
  const Tensor chosen = select(few, numbers, unary(numbers, UnaryKind::neg));
  const TopK best = top_k(chosen, 2);
  const Tensor table = broadcast(best.values, {3, 2});
  const Tensor product = dot(transpose(table, {1, 0}), table, {{}, {}, {1}, {0}});  // [2,2]
  const Tensor rows = gather(cumsum(product, 0), best.indices, 0);
  recorder.output("row", reduce(concat({rows, rows}, 1), ReduceAttributes::Kind::sum, 0));
}

void forward(Recorder& recorder) {
  const Tensor embedding = matrix(recorder, "embed_tokens.weight", 16, kWidth);
  Tensor x = embed(recorder.tokens(), embedding, 2.0f);
  x = tap(rms_norm(x, vector(recorder, "norm.weight", kWidth), {0.5f, true}), "normal");
  x = x + attend(recorder, x);
  x = x * mix(recorder, x);
  x = activations(x);
  recorder.output("last", pool(x, PoolAttributes::Kind::last));
  recorder.output("mean", pool(x, PoolAttributes::Kind::mean));
  record_basic(recorder, x);
  const Tensor rows = gather_rows(x, recorder.logit_rows());
  const Tensor bias = vector(recorder, "lm_head.bias", 16);
  const Tensor logits = linear(rows, embedding, bias);
  recorder.output("logits", slice(logits, {1, 0, 16, 2}));
  const LogitsViewTensors view = logits_view(logits, recorder.temperatures(), 5);
  recorder.output("statistics", view.statistics);
  recorder.output("sampled", sample(view, recorder.temperatures(), recorder.random()));
}

}  // namespace

Program every_operation() {
  return record("every_operation", {.taps = {"*"}}, forward).value();
}

}  // namespace dunlin

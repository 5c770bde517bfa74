// Sources of the structure: transformers modeling_gpt_oss.py, and modeling_dream.py of the Dream
// checkpoint. T rows, R logit rows, D width, H query heads, K kv heads, h head width, F ffn width.
#include "support/blocks.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "program/ops.h"

namespace dunlin {

namespace {

struct Axes {
  AxisList embed, queries, heads, keys, ffn, vocab;
};

template <typename Sizes>
Axes axes_of(const Sizes& sizes) {
  const AxisSize kv{Axis::kv_heads, sizes.kv_heads};
  const AxisSize group{Axis::q_group, sizes.heads / sizes.kv_heads};
  const AxisSize head{Axis::head_dim, sizes.head_dim};
  return {{{Axis::embed, sizes.width}}, {kv, group, head},           {kv, group}, {kv, head},
          {{Axis::ffn, sizes.ffn}},     {{Axis::vocab, sizes.vocab}}};
}

Tensor project(Tensor x, const WeightScope& scope, const AxisList& out, const AxisList& in,
               bool biased) {
  const Tensor weight = scope.matrix("weight", out, in);
  return linear(x, weight, biased ? scope.vector("bias", out) : Tensor());
}

struct AttentionBlock {
  AttentionAttributes attributes;
  bool sinks = false;
  bool output_bias = false;
};

template <typename Sizes>
Tensor attend(Tensor x, Tensor angles, const WeightScope& scope, const Sizes& sizes,
              AttentionBlock block, int64_t layer) {  // [T,D] -> [T,D]
  Recorder& recorder = x.recorder();
  const Scope names(recorder, "attend");
  const Axes axes = axes_of(sizes);
  const Tensor q =
      tap(project(x, scope.scope("q_proj"), axes.queries, axes.embed, true), "q", layer);
  const Tensor k = tap(project(x, scope.scope("k_proj"), axes.keys, axes.embed, true), "k", layer);
  const Tensor v = tap(project(x, scope.scope("v_proj"), axes.keys, axes.embed, true), "v", layer);
  const Dims key_heads{Symbol::rows, sizes.kv_heads, sizes.head_dim};
  const RopeAttributes rotary{sizes.head_dim};
  const Tensor qh = rope(reshape(q, {Symbol::rows, sizes.heads, sizes.head_dim}), angles, rotary);
  const Tensor kh = rope(reshape(k, key_heads), angles, rotary);
  const Tensor vh = reshape(v, key_heads);
  const auto place = recorder.kv_layer(block.attributes.window, sizes.kv_heads, sizes.head_dim);
  block.attributes.scale = 1.0f / std::sqrt(static_cast<float>(sizes.head_dim));
  block.attributes.group = place.group;
  block.attributes.layer = place.layer;
  const Tensor sinks = block.sinks ? scope.vector("sinks", axes.heads) : Tensor();
  const Tensor y = attention(qh, kh, vh, sinks, block.attributes);
  const Tensor merged = reshape(y, {Symbol::rows, sizes.heads * sizes.head_dim});
  const Tensor out =
      project(merged, scope.scope("o_proj"), axes.embed, axes.queries, block.output_bias);
  return tap(out, "attn_out", layer);
}

Tensor mixture(Tensor x, const WeightScope& scope, const GptOssSizes& sizes, int64_t layer) {
  const Scope names(x.recorder(), "mlp");
  const Axes axes = axes_of(sizes);
  const AxisList expert{{Axis::experts, sizes.experts}};
  const WeightScope router = scope.scope("router");
  const Tensor router_weight = router.matrix("weight", expert, axes.embed);
  const Tensor router_bias = router.vector("bias", expert);
  const Routes routes =
      route(x, router_weight, router_bias, RouteAttributes{sizes.experts_per_token, false});
  const WeightScope stacks = scope.scope("experts");
  ExpertWeights weights;
  weights.gate = stacks.stack("gate_proj.weight", expert, axes.ffn, axes.embed);
  weights.up = stacks.stack("up_proj.weight", expert, axes.ffn, axes.embed);
  weights.down = stacks.stack("down_proj.weight", expert, axes.embed, axes.ffn);
  weights.gate_bias = stacks.matrix("gate_proj.bias", expert, axes.ffn);
  weights.up_bias = stacks.matrix("up_proj.bias", expert, axes.ffn);
  weights.down_bias = stacks.matrix("down_proj.bias", expert, axes.embed);
  const Tensor y = experts(x, routes, weights, GatedAttributes{GateKind::oai, 1.702f, 7.0f});
  return tap(y, "mlp_out", layer);
}

Tensor feed_forward(Tensor x, const WeightScope& scope, const DreamSizes& sizes, int64_t layer) {
  const Scope names(x.recorder(), "mlp");
  const Axes axes = axes_of(sizes);
  const Tensor gate = project(x, scope.scope("gate_proj"), axes.ffn, axes.embed, false);
  const Tensor up = project(x, scope.scope("up_proj"), axes.ffn, axes.embed, false);
  const Tensor h = gated(gate, up, GatedAttributes{});
  const Tensor y = project(h, scope.scope("down_proj"), axes.embed, axes.ffn, false);
  return tap(y, "mlp_out", layer);
}

// Embedding, `layers` blocks, the last norm and the logits of the wanted rows.
template <typename Sizes, typename Block>
void record_model(Recorder& recorder, const Sizes& sizes, Block block) {
  const Axes axes = axes_of(sizes);
  const WeightScope model = recorder.weights().scope("model");
  const RmsNormAttributes norm{sizes.eps};
  Tensor x = embed(recorder.tokens(), model.matrix("embed_tokens.weight", axes.vocab, axes.embed));
  const int64_t limit = recorder.options().layers;
  const int64_t layers = limit < 0 ? sizes.layers : std::min(limit, sizes.layers);
  for (int64_t i = 0; i < layers; ++i) {
    const Scope names(recorder, "layers", i);
    const WeightScope weights = model.scope("layers").scope(i);
    const Tensor before = rms_norm(x, weights.vector("input_layernorm.weight", axes.embed), norm);
    x = x + block.attend(before, weights.scope("self_attn"), i);
    const Tensor after =
        rms_norm(x, weights.vector("post_attention_layernorm.weight", axes.embed), norm);
    x = x + block.feed_forward(after, weights.scope("mlp"), i);
    tap(x, "hidden", i);
  }
  const Tensor rows = gather_rows(x, recorder.logit_rows());
  const Tensor last = rms_norm(rows, model.vector("norm.weight", axes.embed), norm);
  recorder.output(
      "logits", linear(last, recorder.weights().matrix("lm_head.weight", axes.vocab, axes.embed)));
}

struct GptOssBlock {
  const GptOssSizes& sizes;
  Tensor angles;

  Tensor attend(Tensor x, const WeightScope& scope, int64_t layer) const {
    AttentionBlock block;
    block.attributes.window = layer % 2 == 0 ? sizes.window : 0;
    block.sinks = true;
    block.output_bias = true;
    return dunlin::attend(x, angles, scope, sizes, block, layer);
  }
  Tensor feed_forward(Tensor x, const WeightScope& scope, int64_t layer) const {
    return mixture(x, scope, sizes, layer);
  }
};

struct DreamBlock {
  const DreamSizes& sizes;
  Tensor angles;

  Tensor attend(Tensor x, const WeightScope& scope, int64_t layer) const {
    AttentionBlock block;
    block.attributes.mask = MaskKind::full;
    return dunlin::attend(x, angles, scope, sizes, block, layer);
  }
  Tensor feed_forward(Tensor x, const WeightScope& scope, int64_t layer) const {
    return dunlin::feed_forward(x, scope, sizes, layer);
  }
};

}  // namespace

std::vector<float> rope_frequencies(double theta, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    frequencies.push_back(static_cast<float>(std::pow(theta, exponent)));
  }
  return frequencies;
}

std::vector<float> yarn_frequencies(const GptOssSizes& sizes) {
  const auto dims = static_cast<double>(sizes.head_dim);
  const auto correction = [&](double rotations) {
    return dims * std::log(sizes.yarn_original_positions / (2.0 * std::numbers::pi * rotations)) /
           (2.0 * std::log(sizes.rope_theta));
  };
  const double low = std::max(correction(sizes.yarn_beta_fast), 0.0);
  const double high = std::min(correction(sizes.yarn_beta_slow), dims - 1.0);
  std::vector<float> frequencies;
  for (int64_t i = 0; i < sizes.head_dim / 2; ++i) {
    const auto index = static_cast<double>(i);
    const double base = std::pow(sizes.rope_theta, -2.0 * index / dims);
    const double ramp = std::clamp((index - low) / (high - low), 0.0, 1.0);
    const double scaled = base / sizes.yarn_factor * ramp + base * (1.0 - ramp);
    frequencies.push_back(static_cast<float>(scaled));
  }
  return frequencies;
}

float yarn_scale(double factor) {
  return static_cast<float>(0.1 * std::log(factor) + 1.0);
}

void record_gpt_oss(Recorder& recorder, const GptOssSizes& sizes) {
  const RopeAnglesAttributes yarn{yarn_frequencies(sizes), yarn_scale(sizes.yarn_factor)};
  const Tensor angles = rope_angles(recorder.positions(), yarn);
  record_model(recorder, sizes, GptOssBlock{sizes, angles});
}

void record_dream(Recorder& recorder, const DreamSizes& sizes) {
  const RopeAnglesAttributes plain{rope_frequencies(sizes.rope_theta, sizes.head_dim), 1.0f};
  const Tensor angles = rope_angles(recorder.positions(), plain);
  record_model(recorder, sizes, DreamBlock{sizes, angles});
}

}  // namespace dunlin

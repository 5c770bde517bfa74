// Llama: pre-norm decoder with grouped-query attention, rotary positions and a SwiGLU feed-forward.
// Qwen2 adds biases. Source: "The Llama 3 Herd of Models" (2024); transformers modeling_llama.py
// and modeling_qwen2.py. T rows, R logit rows, D width, H query heads, K kv heads, h head width, F
// ffn width, V vocabulary.
#include "models/llama.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/output_logits.h"
#include "models/rope_config.h"
#include "program/ops.h"

namespace dunlin {
namespace {

struct Config {
  int64_t width, layers, heads, kv_heads, head_dim, ffn, vocab;  // D, layers, H, K, h, F, V
  float eps;
  bool tied;
  bool qkv_bias, o_bias, mlp_bias;
  MaskKind mask = MaskKind::causal;
  RopeAnglesAttributes rope;
};

// Axes of the weights' dimensions; their products are the sizes.
struct Axes {
  AxisList embed, queries, keys, ffn, vocab;

  explicit Axes(const Config& c)
      : embed{{Axis::embed, c.width}},
        queries{{Axis::kv_heads, c.kv_heads},
                {Axis::q_group, c.heads / c.kv_heads},
                {Axis::head_dim, c.head_dim}},
        keys{{Axis::kv_heads, c.kv_heads}, {Axis::head_dim, c.head_dim}},
        ffn{{Axis::ffn, c.ffn}},
        vocab{{Axis::vocab, c.vocab}} {}
};

struct Projection {
  Tensor weight, bias;

  Projection(const WeightScope& scope, const AxisList& out, const AxisList& in, bool with_bias)
      : weight(scope.matrix("weight", out, in)),
        bias(with_bias ? scope.vector("bias", out) : Tensor()) {}
  Tensor operator()(Tensor x) const { return linear(x, weight, bias); }
};

struct Block {
  Tensor input_norm, post_attention_norm;
  Projection q, k, v, o, gate, up, down;

  Block(const WeightScope& scope, const Config& c, const Axes& axes)
      : input_norm(scope.vector("input_layernorm.weight", axes.embed)),
        post_attention_norm(scope.vector("post_attention_layernorm.weight", axes.embed)),
        q(scope.scope("self_attn.q_proj"), axes.queries, axes.embed, c.qkv_bias),
        k(scope.scope("self_attn.k_proj"), axes.keys, axes.embed, c.qkv_bias),
        v(scope.scope("self_attn.v_proj"), axes.keys, axes.embed, c.qkv_bias),
        o(scope.scope("self_attn.o_proj"), axes.embed, axes.queries, c.o_bias),
        gate(scope.scope("mlp.gate_proj"), axes.ffn, axes.embed, c.mlp_bias),
        up(scope.scope("mlp.up_proj"), axes.ffn, axes.embed, c.mlp_bias),
        down(scope.scope("mlp.down_proj"), axes.embed, axes.ffn, c.mlp_bias) {}

  Tensor attend(Tensor x, Tensor angles, const Config& c, int64_t layer) const {  // [T,D] -> [T,D]
    Recorder& recorder = x.recorder();
    const Scope scope(recorder, "attend");
    const Tensor queries = tap(q(x), "q", layer);  // [T,H*h]
    const Tensor keys = tap(k(x), "k", layer);     // [T,K*h]
    const Tensor values = tap(v(x), "v", layer);   // [T,K*h]
    const RopeAttributes rotary{.rotary_dim = c.head_dim};
    const Tensor qh = rope(reshape(queries, {Symbol::rows, c.heads, c.head_dim}), angles, rotary);
    const Tensor kh = rope(reshape(keys, {Symbol::rows, c.kv_heads, c.head_dim}), angles, rotary);
    const Tensor vh = reshape(values, {Symbol::rows, c.kv_heads, c.head_dim});
    const auto place = recorder.kv_layer(/*window=*/0, c.kv_heads, c.head_dim);
    const Tensor attended = attention(qh, kh, vh, /*sinks=*/Tensor(),
                                      {.mask = c.mask,
                                       .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                                       .stateful = recorder.options().stateful,
                                       .group = place.group,
                                       .layer = place.layer});  // [T,H,h]
    return tap(o(reshape(attended, {Symbol::rows, c.heads * c.head_dim})), "attn_out", layer);
  }

  Tensor feed_forward(Tensor x, int64_t layer) const {  // [T,D] -> [T,D]
    const Scope scope(x.recorder(), "feed_forward");
    const Tensor g = tap(gate(x), "gate", layer);  // [T,F]
    const Tensor u = tap(up(x), "up", layer);      // [T,F]
    return tap(down(gated(g, u, {.kind = GateKind::silu})), "mlp_out", layer);
  }

  Tensor operator()(Tensor x, Tensor angles, const Config& c, int64_t layer) const {
    const RmsNormAttributes norm{.eps = c.eps};
    const Tensor before_attention = tap(rms_norm(x, input_norm, norm), "norm1", layer);
    x = x + attend(before_attention, angles, c, layer);
    const Tensor before_ffn = tap(rms_norm(x, post_attention_norm, norm), "norm2", layer);
    return x + feed_forward(before_ffn, layer);
  }
};

void forward(Recorder& recorder, const Config& c) {
  const WeightScope weights = recorder.weights();
  const WeightScope model = weights.scope("model");
  const Axes axes(c);
  const Tensor embedding = model.matrix("embed_tokens.weight", axes.vocab, axes.embed);

  const Tensor angles = rope_angles(recorder.positions(), c.rope);   // [T,h/2,2]
  Tensor x = tap(embed(recorder.tokens(), embedding), "hidden", 0);  // [T,D]
  for (int64_t i = 0; i < c.layers; ++i) {
    const Scope scope(recorder, "layers", i);
    const Block block(model.scope("layers").scope(i), c, axes);
    x = tap(block(x, angles, c, i), "hidden", i + 1);
  }

  const Tensor wanted = gather_rows(x, recorder.logit_rows());  // [R,D]
  const Tensor norm = model.vector("norm.weight", axes.embed);
  const Tensor last = tap(rms_norm(wanted, norm, {.eps = c.eps}), "final_norm");
  const Tensor head = c.tied ? embedding : weights.matrix("lm_head.weight", axes.vocab, axes.embed);
  const Tensor logits = linear(last, head);  // [R,V]
  output_logits(recorder, logits);
}

// Everything but the biases and the mask, which is where the families differ. The limits are far above any model
// and keep products of sizes within 64 bits.
Result<Config> read_config(const Metadata& m, const RecordOptions& options) {
  Config c = {};
  DUNLIN_ASSIGN_OR_RETURN(c.width, m.integer("hidden_size", 1, 1 << 20));
  DUNLIN_ASSIGN_OR_RETURN(c.layers, m.integer("num_hidden_layers", 1, 4096));
  DUNLIN_ASSIGN_OR_RETURN(c.heads, m.integer("num_attention_heads", 1, 1 << 14));
  DUNLIN_ASSIGN_OR_RETURN(c.kv_heads, m.integer_or("num_key_value_heads", 1, 1 << 14, c.heads));
  DUNLIN_ASSIGN_OR_RETURN(c.head_dim, m.integer_or("head_dim", 1, 1 << 12, c.width / c.heads));
  DUNLIN_ASSIGN_OR_RETURN(c.ffn, m.integer("intermediate_size", 1, 1 << 22));
  DUNLIN_ASSIGN_OR_RETURN(c.vocab, m.integer("vocab_size", 1, 1 << 24));
  DUNLIN_ASSIGN_OR_RETURN(const double eps, m.number_or("rms_norm_eps", 0.0, 1.0, 1e-6));
  DUNLIN_ASSIGN_OR_RETURN(c.tied, m.boolean_or("tie_word_embeddings", false));
  DUNLIN_ASSIGN_OR_RETURN(const std::string activation, m.text_or("hidden_act", "silu"));
  c.eps = static_cast<float>(eps);
  if (c.heads % c.kv_heads != 0) {
    return model_error(
        fmt::format("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}",
                    m.origin(), c.heads, c.kv_heads));
  }
  if (!m.has("head_dim") && c.width % c.heads != 0) {
    return model_error(fmt::format(
        "{}: hidden_size {} is not a multiple of num_attention_heads {} and there is no head_dim",
        m.origin(), c.width, c.heads));
  }
  if (c.head_dim % 2 != 0) {
    return model_error(
        fmt::format("{}: head_dim {} is odd; rotary positions need pairs", m.origin(), c.head_dim));
  }
  if (activation != "silu") {
    return model_error(
        fmt::format("{}: hidden_act \"{}\" is not supported (silu)", m.origin(), activation));
  }
  DUNLIN_ASSIGN_OR_RETURN(c.rope, rope_angles_from(m, c.head_dim));
  if (options.layers >= 0) c.layers = std::min(c.layers, options.layers);
  return c;
}

Result<Program> record_block_model(const char* name, const Config& config,
                                   const RecordOptions& options) {
  return record(name, options, [&config](Recorder& recorder) { forward(recorder, config); });
}

}  // namespace

Result<Program> record_llama(const Metadata& config, const RecordOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(Config c, read_config(config, options));
  DUNLIN_ASSIGN_OR_RETURN(c.qkv_bias, config.boolean_or("attention_bias", false));
  c.o_bias = c.qkv_bias;
  DUNLIN_ASSIGN_OR_RETURN(c.mlp_bias, config.boolean_or("mlp_bias", false));
  return record_block_model("llama", c, options);
}

Result<Program> record_qwen2_block(const char* name, const Metadata& config, MaskKind mask,
                                   const RecordOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const bool windowed, config.boolean_or("use_sliding_window", false));
  if (windowed) {
    return model_error(
        fmt::format("{}: use_sliding_window true is not supported for {}", config.origin(), name));
  }
  DUNLIN_ASSIGN_OR_RETURN(Config c, read_config(config, options));
  c.qkv_bias = true;
  c.mask = mask;
  return record_block_model(name, c, options);
}

Result<Program> record_qwen2(const Metadata& config, const RecordOptions& options) {
  return record_qwen2_block("qwen2", config, MaskKind::causal, options);
}

}  // namespace dunlin

// GPT-OSS: a pre-norm decoder with grouped-query attention, learned sinks, windows in every other
// layer, YaRN positions, and a mixture of experts with a clamped SwiGLU. Biases everywhere. Source:
// "gpt-oss-120b & gpt-oss-20b Model Card" (OpenAI, 2025); openai/gpt-oss, torch/model.py;
// transformers modeling_gpt_oss.py. T rows, R logit rows, D width, H query heads, K kv heads, h head
// width, E experts, k of them per row, F width of an expert, V vocabulary.
#include "models/gpt_oss.h"

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
  int64_t experts, experts_per_row;                              // E, k
  std::vector<int64_t> windows;  // of each layer; 0: sees everything
  float eps;
  bool tied;
  GatedAttributes gate;
  RopeAnglesAttributes rope;
};

// Axes of the weights' dimensions; their products are the sizes.
struct Axes {
  AxisList embed, queries, heads, keys, experts, ffn, vocab;

  explicit Axes(const Config& c)
      : embed{{Axis::embed, c.width}},
        queries{{Axis::kv_heads, c.kv_heads},
                {Axis::q_group, c.heads / c.kv_heads},
                {Axis::head_dim, c.head_dim}},
        heads{{Axis::kv_heads, c.kv_heads}, {Axis::q_group, c.heads / c.kv_heads}},
        keys{{Axis::kv_heads, c.kv_heads}, {Axis::head_dim, c.head_dim}},
        experts{{Axis::experts, c.experts}},
        ffn{{Axis::ffn, c.ffn}},
        vocab{{Axis::vocab, c.vocab}} {}
};

struct Projection {
  Tensor weight, bias;

  Projection(const WeightScope& scope, const AxisList& out, const AxisList& in)
      : weight(scope.matrix("weight", out, in)), bias(scope.vector("bias", out)) {}
  Tensor operator()(Tensor x) const { return linear(x, weight, bias); }
};

ExpertWeights expert_weights(const WeightScope& scope, const Axes& axes) {
  ExpertWeights weights;
  weights.gate = scope.stack("gate_proj.weight", axes.experts, axes.ffn, axes.embed);
  weights.up = scope.stack("up_proj.weight", axes.experts, axes.ffn, axes.embed);
  weights.down = scope.stack("down_proj.weight", axes.experts, axes.embed, axes.ffn);
  weights.gate_bias = scope.matrix("gate_proj.bias", axes.experts, axes.ffn);
  weights.up_bias = scope.matrix("up_proj.bias", axes.experts, axes.ffn);
  weights.down_bias = scope.matrix("down_proj.bias", axes.experts, axes.embed);
  return weights;
}

struct Block {
  Tensor input_norm, post_attention_norm, sinks;
  Projection q, k, v, o, router;
  ExpertWeights mixture;

  Block(const WeightScope& scope, const Axes& axes)
      : input_norm(scope.vector("input_layernorm.weight", axes.embed)),
        post_attention_norm(scope.vector("post_attention_layernorm.weight", axes.embed)),
        sinks(scope.vector("self_attn.sinks", axes.heads)),
        q(scope.scope("self_attn.q_proj"), axes.queries, axes.embed),
        k(scope.scope("self_attn.k_proj"), axes.keys, axes.embed),
        v(scope.scope("self_attn.v_proj"), axes.keys, axes.embed),
        o(scope.scope("self_attn.o_proj"), axes.embed, axes.queries),
        router(scope.scope("mlp.router"), axes.experts, axes.embed),
        mixture(expert_weights(scope.scope("mlp.experts"), axes)) {}

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
    const int64_t window = c.windows[static_cast<size_t>(layer)];
    const auto place = recorder.kv_layer(window, c.kv_heads, c.head_dim);
    const Tensor attended = attention(qh, kh, vh, sinks,
                                      {.mask = MaskKind::causal,
                                       .window = window,
                                       .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                                       .stateful = recorder.options().stateful,
                                       .group = place.group,
                                       .layer = place.layer});  // [T,H,h]
    return tap(o(reshape(attended, {Symbol::rows, c.heads * c.head_dim})), "attn_out", layer);
  }

  Tensor mix(Tensor x, const Config& c, int64_t layer) const {  // [T,D] -> [T,D]
    const Scope scope(x.recorder(), "mixture");
    const Routes routes = route(x, router.weight, router.bias, {.k = c.experts_per_row});
    tap(routes.experts, "router_idx", layer);  // i32 [T,k]
    tap(routes.weights, "router_w", layer);    // [T,k]
    return tap(experts(x, routes, mixture, c.gate), "mlp_out", layer);
  }

  Tensor operator()(Tensor x, Tensor angles, const Config& c, int64_t layer) const {
    const RmsNormAttributes norm{.eps = c.eps, .cast_before_weight = false};
    const Tensor before_attention = tap(rms_norm(x, input_norm, norm), "norm1", layer);
    x = x + attend(before_attention, angles, c, layer);
    const Tensor before_mixture = tap(rms_norm(x, post_attention_norm, norm), "norm2", layer);
    return x + mix(before_mixture, c, layer);
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
    const Block block(model.scope("layers").scope(i), axes);
    x = tap(block(x, angles, c, i), "hidden", i + 1);
  }

  const Tensor wanted = gather_rows(x, recorder.logit_rows());  // [R,D]
  const Tensor norm = model.vector("norm.weight", axes.embed);
  const RmsNormAttributes last_norm{.eps = c.eps, .cast_before_weight = false};
  const Tensor last = tap(rms_norm(wanted, norm, last_norm), "final_norm");
  const Tensor head = c.tied ? embedding : weights.matrix("lm_head.weight", axes.vocab, axes.embed);
  output_logits(recorder, linear(last, head));  // [R,V]
}

// The window of each layer: as layer_types says, or in every other layer from the first on.
Result<std::vector<int64_t>> read_windows(const Metadata& m, int64_t layers) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t window, m.integer_or("sliding_window", 1, 1 << 30, 128));
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < layers; ++i) windows.push_back(i % 2 == 0 ? window : 0);
  if (!m.has("layer_types")) return windows;
  const auto* const types = std::get_if<std::vector<std::string>>(m.find("layer_types"));
  if (types == nullptr || types->size() != windows.size()) {
    return model_error(fmt::format("{}: layer_types is not a list of {} names, one for each layer",
                                   m.origin(), layers));
  }
  for (size_t i = 0; i < types->size(); ++i) {
    const std::string& type = (*types)[i];
    if (type != "sliding_attention" && type != "full_attention") {
      return model_error(fmt::format(
          "{}: layer_types[{}] \"{}\" is not supported (sliding_attention, full_attention)",
          m.origin(), i, type));
    }
    windows[i] = type == "sliding_attention" ? window : 0;
  }
  return windows;
}

Result<void> read_mixture(const Metadata& m, Config& c) {
  DUNLIN_ASSIGN_OR_RETURN(c.experts, m.integer("num_local_experts", 1, 1 << 16));
  DUNLIN_ASSIGN_OR_RETURN(c.experts_per_row, m.integer_or("num_experts_per_tok", 1, 1 << 8, 4));
  if (c.experts_per_row > c.experts) {
    return model_error(fmt::format("{}: num_experts_per_tok {} is more than num_local_experts {}",
                                   m.origin(), c.experts_per_row, c.experts));
  }
  DUNLIN_ASSIGN_OR_RETURN(const double alpha, m.number_or("swiglu_alpha", 1e-3, 1e3, 1.702));
  DUNLIN_ASSIGN_OR_RETURN(const double limit, m.number_or("swiglu_limit", 1e-3, 1e6, 7.0));
  c.gate = {.kind = GateKind::oai,
            .alpha = static_cast<float>(alpha),
            .limit = static_cast<float>(limit)};
  return {};
}

Result<void> check_sizes(const Metadata& m, const Config& c) {
  if (c.heads % c.kv_heads != 0) {
    return model_error(
        fmt::format("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}",
                    m.origin(), c.heads, c.kv_heads));
  }
  if (c.head_dim % 2 != 0) {
    return model_error(
        fmt::format("{}: head_dim {} is odd; rotary positions need pairs", m.origin(), c.head_dim));
  }
  DUNLIN_ASSIGN_OR_RETURN(const bool biases, m.boolean_or("attention_bias", true));
  if (!biases) {
    return model_error(
        fmt::format("{}: attention_bias false is not supported for gpt_oss", m.origin()));
  }
  return {};
}

// Elements of a stack of experts, thousands of times those of any model: the bytes of three stacks
// in each of 4096 layers stay within 64 bits.
constexpr int64_t kMostStackElements = int64_t{1} << 46;

Result<void> check_stacks(const Metadata& m, const Config& c) {
  if (c.width * c.ffn <= kMostStackElements / c.experts) return {};
  return model_error(fmt::format(
      "{}: {} experts (num_local_experts) of {} x {} (intermediate_size, hidden_size) are more "
      "than {} weights",
      m.origin(), c.experts, c.ffn, c.width, kMostStackElements));
}

// The limits are far above any model and keep products of sizes within 64 bits.
Result<Config> read_config(const Metadata& m, const RecordOptions& options) {
  Config c = {};
  DUNLIN_ASSIGN_OR_RETURN(c.width, m.integer("hidden_size", 1, 1 << 20));
  DUNLIN_ASSIGN_OR_RETURN(c.layers, m.integer("num_hidden_layers", 1, 4096));
  DUNLIN_ASSIGN_OR_RETURN(c.heads, m.integer("num_attention_heads", 1, 1 << 14));
  DUNLIN_ASSIGN_OR_RETURN(c.kv_heads, m.integer_or("num_key_value_heads", 1, 1 << 14, c.heads));
  DUNLIN_ASSIGN_OR_RETURN(c.head_dim, m.integer_or("head_dim", 1, 1 << 12, 64));
  DUNLIN_ASSIGN_OR_RETURN(c.ffn, m.integer("intermediate_size", 1, 1 << 22));
  DUNLIN_ASSIGN_OR_RETURN(c.vocab, m.integer("vocab_size", 1, 1 << 24));
  DUNLIN_ASSIGN_OR_RETURN(const double eps, m.number_or("rms_norm_eps", 0.0, 1.0, 1e-5));
  DUNLIN_ASSIGN_OR_RETURN(c.tied, m.boolean_or("tie_word_embeddings", false));
  c.eps = static_cast<float>(eps);
  DUNLIN_RETURN_IF_ERROR(check_sizes(m, c));
  DUNLIN_RETURN_IF_ERROR(read_mixture(m, c));
  DUNLIN_RETURN_IF_ERROR(check_stacks(m, c));
  DUNLIN_ASSIGN_OR_RETURN(c.windows, read_windows(m, c.layers));
  DUNLIN_ASSIGN_OR_RETURN(c.rope, rope_angles_from(m, c.head_dim));
  if (options.layers >= 0) c.layers = std::min(c.layers, options.layers);
  return c;
}

}  // namespace

Result<Program> record_gpt_oss(const Metadata& config, const RecordOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const Config c, read_config(config, options));
  return record("gpt_oss", options, [&c](Recorder& recorder) { forward(recorder, c); });
}

}  // namespace dunlin

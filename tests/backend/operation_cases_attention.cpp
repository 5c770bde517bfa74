// Cases of attention over steps with and without a cache.
#include "operation_cases.h"
#include "program/ops.h"

namespace dunlin {
namespace {

constexpr RowClass kPrompt = RowClass::prompt;
constexpr RowClass kGenerated = RowClass::generated;

struct AttentionShape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
};

// q, k and v straight from tables, so that only attention is under test.
Tensor record_attention(Recorder& r, const std::string& name, AttentionShape shape,
                        AttentionAttributes attributes) {
  const auto [heads, kv_heads, head_dim] = shape;
  const Recorder::KvLayer place = r.kv_layer(attributes.window, kv_heads, head_dim);
  attributes.group = place.group;
  attributes.layer = place.layer;
  const auto input = [&](const std::string& part, int64_t count) {
    const Tensor x = case_input(r, name + part, count * head_dim);
    return reshape(x, {Symbol::rows, count, head_dim});
  };
  const Tensor q = input(".q", heads);
  const Tensor k = input(".k", kv_heads);
  const Tensor v = input(".v", kv_heads);
  Tensor sinks;
  if (attributes.has_sinks) {
    sinks = r.weights().vector(name + ".sinks",
                               {{Axis::kv_heads, kv_heads}, {Axis::q_group, heads / kv_heads}});
  }
  return attention(q, k, v, sinks, attributes);
}

OperationCase attention_case(const std::string& name, AttentionShape shape,
                             const AttentionAttributes& attributes, std::vector<CaseStep> steps) {
  OperationCase result;
  result.name = "attention_" + name;
  result.record = [=](Recorder& r) {
    r.output("result", record_attention(r, "attention", shape, attributes));
  };
  result.steps = std::move(steps);
  return result;
}

AttentionAttributes scaled(float scale) {
  AttentionAttributes attributes;
  attributes.scale = scale;
  return attributes;
}

// A prompt, then single tokens across a page border, then decode beside a second prompt.
std::vector<CaseStep> conversation() {
  return {{{{kPrompt, 14, {0}}}},
          {{{kGenerated, 1, {0}}}},
          {{{kGenerated, 1, {0}}}},
          {{{kGenerated, 1, {0}}, {kPrompt, 17, {1}}}},
          {{{kGenerated, 1, {0, 1}}, {kPrompt, 5, {2}}}},
          {{{kGenerated, 1, {0, 1, 2}}}}};
}

// More than one split of 256 positions, in chunks, then decode.
std::vector<CaseStep> long_context() {
  return {{{{kPrompt, 250, {0}}}},
          {{{kPrompt, 40, {0}}}},
          {{{kGenerated, 1, {0}}, {kPrompt, 3, {1}}}},
          {{{kGenerated, 2, {0}}, {kPrompt, 260, {1}}}},
          {{{kGenerated, 1, {0, 1}}}}};
}

// A canvas of 40 positions, then blocks of it again over the cache: what diffusion decoding does.
std::vector<CaseStep> diffusion() {
  return {{{{kPrompt, 40, {0}}}},
          {{{kGenerated, 8, {0}, 24}}},
          {{{kGenerated, 8, {0}, 24}, {kPrompt, 20, {1}}}},
          {{{kGenerated, 8, {0}, 32}, {kGenerated, 8, {1}, 8}}}};
}

std::vector<OperationCase> shape_cases() {
  return {
      attention_case("9_3_heads_64", {9, 3, 64}, scaled(0.125f), conversation()),
      attention_case("14_2_heads_64", {14, 2, 64}, scaled(0.125f), conversation()),
      attention_case("4_1_heads_80", {4, 1, 80}, scaled(0.1118034f), conversation()),
      attention_case("8_8_heads_128", {8, 8, 128}, scaled(0.08838835f), conversation()),
      attention_case("2_1_heads_16", {2, 1, 16}, scaled(0.25f), conversation()),
      attention_case("long_9_3_heads_64", {9, 3, 64}, scaled(0.125f), long_context()),
      attention_case("long_2_1_heads_128", {2, 1, 128}, scaled(0.08838835f), long_context()),
  };
}

std::vector<OperationCase> mask_cases() {
  AttentionAttributes window = scaled(0.25f);
  window.window = 20;
  AttentionAttributes wide_window = scaled(0.125f);
  wide_window.window = 128;
  AttentionAttributes softcapped = scaled(0.25f);
  softcapped.softcap = 2.0f;
  AttentionAttributes sinks = scaled(0.125f);
  sinks.has_sinks = true;
  AttentionAttributes sinks_window = sinks;
  sinks_window.window = 24;
  AttentionAttributes full = scaled(0.125f);
  full.mask = MaskKind::full;
  return {
      attention_case("window_20", {4, 2, 32}, window, conversation()),
      attention_case("window_20_long", {4, 2, 32}, window, long_context()),
      attention_case("window_128_long", {4, 2, 64}, wide_window, long_context()),
      attention_case("softcap", {4, 2, 32}, softcapped, conversation()),
      attention_case("sinks", {8, 2, 64}, sinks, conversation()),
      attention_case("sinks_long", {8, 2, 64}, sinks, long_context()),
      attention_case("sinks_window", {8, 2, 64}, sinks_window, conversation()),
      attention_case("full_diffusion", {14, 2, 64}, full, diffusion()),
      attention_case("page_borders", {2, 1, 64}, scaled(0.125f),
                     {{{{kPrompt, 15, {0}}, {kPrompt, 16, {1}}}},
                      {{{kGenerated, 1, {0, 1}}}},
                      {{{kPrompt, 16, {0}}, {kPrompt, 17, {1}}}}}),
      attention_case("batch_33", {3, 1, 32}, scaled(0.25f),
                     {{{{kPrompt, 3, {0, 1, 2, 3, 4, 5, 6}}}},
                      {{{kGenerated, 1, {0, 1, 2, 3, 4, 5, 6}}, {kPrompt, 26, {7}}}},
                      {{{kGenerated, 2, {7, 0, 6}}, {kGenerated, 1, {3}}}}}),
  };
}

// Without a cache: the rows of the same sequence in the step.
OperationCase stateless(OperationCase operation_case) {
  operation_case.name += "_stateless";
  operation_case.stateful = false;
  operation_case.steps = {{{{kPrompt, 33, {0}}, {kPrompt, 7, {1, 2}}}},
                          {{{kPrompt, 1, {3}}, {kPrompt, 270, {4}}}}};
  return operation_case;
}

// Two layers with a window and one without: two KV groups.
OperationCase groups_case() {
  OperationCase result;
  result.name = "attention_two_kv_groups";
  result.record = [](Recorder& r) {
    AttentionAttributes window = scaled(0.25f);
    window.window = 18;
    const Tensor first = record_attention(r, "first", {4, 2, 32}, window);
    const Tensor second = record_attention(r, "second", {4, 2, 32}, scaled(0.25f));
    const Tensor third = record_attention(r, "third", {4, 2, 32}, window);
    r.output("result", add(add(first, second), third));
  };
  result.steps = conversation();
  return result;
}

// norm, q k v, rope, attention, o, residual: what a layer's first half is.
OperationCase layer_case(const std::string& name, Format format, AttentionShape shape,
                         bool qk_norm) {
  OperationCase result;
  result.name = name;
  result.format = format;
  result.record = [=](Recorder& r) {
    constexpr int64_t kWidth = 256;
    const auto [heads, kv_heads, head_dim] = shape;
    const AxisList d{{Axis::embed, kWidth}};
    const AxisList h{
        {Axis::kv_heads, kv_heads}, {Axis::q_group, heads / kv_heads}, {Axis::head_dim, head_dim}};
    const AxisList k{{Axis::kv_heads, kv_heads}, {Axis::head_dim, head_dim}};
    const WeightScope w = r.weights();
    const Tensor x = case_input(r, "x", kWidth);
    const Tensor y = rms_norm(x, w.vector("norm.weight", d), {});
    std::vector<float> inv_freq;
    for (int64_t i = 0; i < head_dim / 2; ++i) inv_freq.push_back(1.0f / float(1 + 3 * i));
    const Tensor angles = rope_angles(r.positions(), {inv_freq});
    const auto project = [&](const std::string& part, const AxisList& out, int64_t count) {
      const Tensor flat = linear(y, w.matrix(part + ".weight", out, d));
      return reshape(flat, {Symbol::rows, count, head_dim});
    };
    const auto turned = [&](const std::string& part, Tensor heads_of) {
      if (qk_norm) heads_of = rms_norm(heads_of, w.vector(part, {{Axis::head_dim, head_dim}}), {});
      return rope(heads_of, angles, {head_dim});
    };
    const Tensor query = turned("q_norm", project("q", h, heads));
    const Tensor key = turned("k_norm", project("k", k, kv_heads));
    const Tensor value = project("v", k, kv_heads);
    const Recorder::KvLayer place = r.kv_layer(0, kv_heads, head_dim);
    AttentionAttributes attributes = scaled(0.125f);
    attributes.group = place.group;
    attributes.layer = place.layer;
    const Tensor mixed = attention(query, key, value, {}, attributes);
    const Tensor flat = reshape(mixed, {Symbol::rows, heads * head_dim});
    r.output("result", add(x, linear(flat, w.matrix("o.weight", d, h))));
  };
  result.steps = conversation();
  return result;
}

}  // namespace

std::vector<OperationCase> attention_operation_cases() {
  std::vector<OperationCase> cases = shape_cases();
  for (const OperationCase& mask_case : mask_cases()) cases.push_back(mask_case);
  AttentionAttributes full = scaled(0.125f);
  full.mask = MaskKind::full;
  cases.push_back(stateless(attention_case("causal", {9, 3, 64}, scaled(0.125f), {})));
  cases.push_back(stateless(attention_case("full", {14, 2, 64}, full, {})));
  cases.push_back(groups_case());
  cases.push_back(layer_case("attend_layer_BF16", Format::bf16, {4, 2, 64}, false));
  cases.push_back(layer_case("attend_layer_Q8_0", Format::q8_0, {6, 2, 64}, true));
  cases.push_back(layer_case("attend_layer_Q4_K", Format::q4_k, {4, 1, 64}, false));
  return cases;
}

}  // namespace dunlin

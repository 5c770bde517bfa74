// Cases of the operations that compute each row alone, and of those that choose rows.
#include <string>
#include <utility>

#include "operation_cases.h"
#include "program/ops.h"

namespace dunlin {
namespace {

std::vector<CaseStep> few_steps() {
  return steps_of_rows({1, 7, 33}, RowClass::prompt);
}

// One output "result" of one input [T, width].
OperationCase element_case(const std::string& name, int64_t width,
                           const std::function<Tensor(Tensor)>& operation) {
  OperationCase result;
  result.name = name;
  result.record = [=](Recorder& r) { r.output("result", operation(case_input(r, "x", width))); };
  result.steps = few_steps();
  return result;
}

OperationCase gated_case(const std::string& name, const GatedAttributes& attributes) {
  OperationCase result;
  result.name = name;
  result.record = [=](Recorder& r) {
    const Tensor gate = case_input(r, "gate", 200);
    const Tensor up = case_input(r, "up", 200);
    // A larger range than a table's +-1.7, so that oai's limits are reached.
    const Tensor large = constant(r, {1}, {6.0}, DType::f32);
    r.output("result", gated(mul(gate, large), mul(up, large), attributes));
  };
  result.steps = few_steps();
  return result;
}

OperationCase rms_norm_case(const std::string& name, int64_t width, float eps) {
  return element_case(name, width, [=](Tensor x) {
    const Tensor weight = x.recorder().weights().vector("norm.weight", {{Axis::embed, width}});
    return rms_norm(x, weight, {eps});
  });
}

std::vector<float> frequencies(int64_t pairs) {
  std::vector<float> inv_freq;
  float frequency = 1.0f;
  for (int64_t i = 0; i < pairs; ++i) {
    inv_freq.push_back(frequency);
    frequency *= 0.8f;
  }
  return inv_freq;
}

// Positions up to 290.
std::vector<CaseStep> far_steps() {
  return {{{{RowClass::prompt, 7, {0}, 283}, {RowClass::prompt, 1, {1}}}}};
}

OperationCase rope_case(const std::string& name, int64_t heads, int64_t head_dim,
                        int64_t rotary_dim, float scale) {
  OperationCase result = element_case(name, heads * head_dim, [=](Tensor x) {
    const Tensor angles =
        rope_angles(x.recorder().positions(), {frequencies(rotary_dim / 2), scale});
    return rope(reshape(x, {Symbol::rows, heads, head_dim}), angles, {rotary_dim});
  });
  result.steps = far_steps();
  return result;
}

OperationCase embed_case(const std::string& name, Format format, float scale) {
  OperationCase result;
  result.name = name;
  result.format = format;
  result.record = [=](Recorder& r) {
    const Tensor table =
        r.weights().matrix("embed_tokens", {{Axis::vocab, kCaseVocabulary}}, {{Axis::embed, 256}});
    r.output("result", embed(r.tokens(), table, scale));
  };
  result.steps = few_steps();
  return result;
}

// Three sequences of 1, 1 and 9 rows.
std::vector<CaseStep> mixed_steps() {
  return {{{{RowClass::generated, 1, {0, 1}}, {RowClass::prompt, 9, {2}}}}};
}

// Without a bias where that has no name.
OperationCase route_case(const std::string& name, const RouteAttributes& attributes,
                         const std::string& bias) {
  OperationCase result;
  result.name = name;
  result.record = [=](Recorder& r) {
    const Tensor weight =
        r.weights().matrix("router.weight", {{Axis::experts, 32}}, {{Axis::embed, 96}});
    const Tensor b = bias.empty() ? Tensor() : r.weights().vector(bias, {{Axis::experts, 32}});
    const Routes routes = route(case_input(r, "x", 96), weight, b, attributes);
    r.output("experts", routes.experts);
    r.output("weights", routes.weights);
  };
  // A NaN is in the sum over all experts, and else among the experts that were not chosen or weigh 0.
  result.finite = !attributes.softmax_first || bias.empty();
  result.steps = few_steps();
  return result;
}

struct Mixture {
  int64_t experts = 5;
  int64_t per_row = 2;
  int64_t width = 256;
  int64_t ffn = 256;
  bool biases = false;
  GatedAttributes gate = {};
  int32_t favourite = -1;  // the only expert of every row, instead of a router
};

Routes routes_of(Recorder& r, Tensor x, const Mixture& mixture, const AxisList& e,
                 const AxisList& d) {
  if (mixture.favourite < 0)
    return route(x, r.weights().matrix("router", e, d), {}, {mixture.per_row});
  const Tensor expert = constant(r, {1, 1}, {static_cast<double>(mixture.favourite)}, DType::i32);
  const Tensor one = constant(r, {1, 1}, {1.0}, DType::f32);
  const Dims each{Symbol::rows, 1};
  const Tensor experts = broadcast(expert, each);
  const Tensor weights = broadcast(one, each);
  return {experts, weights};
}

OperationCase experts_case(const std::string& name, Format format, const Mixture& mixture) {
  OperationCase result;
  result.name = name;
  result.format = format;
  result.record = [=](Recorder& r) {
    const AxisList e{{Axis::experts, mixture.experts}};
    const AxisList d{{Axis::embed, mixture.width}};
    const AxisList f{{Axis::ffn, mixture.ffn}};
    const WeightScope w = r.weights();
    ExpertWeights weights{
        w.stack("gate", e, f, d), w.stack("up", e, f, d), w.stack("down", e, d, f), {}, {}, {}};
    if (mixture.biases) {
      weights.gate_bias = w.matrix("gate_bias", e, f);
      weights.up_bias = w.matrix("up_bias", e, f);
      weights.down_bias = w.matrix("down_bias", e, d);
    }
    const Tensor x = case_input(r, "x", mixture.width);
    r.output("result", experts(x, routes_of(r, x, mixture, e, d), weights, mixture.gate));
  };
  result.steps = mixed_steps();
  return result;
}

// Every count of rows in both classes, then both in one step.
std::vector<CaseStep> steps_of_experts() {
  std::vector<CaseStep> steps = steps_of_rows({1, 2, 7, 16, 33}, RowClass::prompt);
  for (const CaseStep& step : steps_of_rows({1, 2, 7, 16, 33}, RowClass::generated, 5))
    steps.push_back(step);
  steps.push_back({{{RowClass::generated, 1, {20, 21, 22}}, {RowClass::prompt, 19, {23}}}});
  return steps;
}

// As GPT-OSS has them: clamped gates and biases.
void add_experts_cases(std::vector<OperationCase>& cases) {
  for (const Format format : {Format::f32, Format::bf16, Format::q8_0, Format::q4_k}) {
    cases.push_back(experts_case(std::string("experts_") + traits(format).name, format, {}));
  }
  const GatedAttributes oai{GateKind::oai};
  const Mixture four{
      .experts = 6, .per_row = 4, .width = 96, .ffn = 64, .biases = true, .gate = oai};
  for (const Format format :
       {Format::f32, Format::f16, Format::bf16, Format::q4_0, Format::q8_0, Format::mxfp4}) {
    OperationCase each =
        experts_case(std::string("experts_4_of_6_") + traits(format).name, format, four);
    each.steps = steps_of_experts();
    cases.push_back(std::move(each));
  }
  // Widths that end within a stripe and within a record.
  cases.push_back(experts_case("experts_biases_oai", Format::bf16,
                               {.width = 72, .ffn = 40, .biases = true, .gate = oai}));
  for (const Format format : {Format::f32, Format::bf16, Format::q8_0, Format::mxfp4}) {
    OperationCase each =
        experts_case(std::string("experts_hidden_") + traits(format).name, format, four);
    each.steps = steps_of_experts();
    each.keeps_hidden = true;
    cases.push_back(std::move(each));
  }
  cases.push_back(experts_case("experts_1_of_1", Format::mxfp4,
                               {.experts = 1, .per_row = 1, .width = 64, .ffn = 32}));
  OperationCase all_to_one = experts_case(
      "experts_all_to_one", Format::q8_0,
      {.experts = 6, .per_row = 1, .width = 64, .ffn = 64, .gate = oai, .favourite = 3});
  all_to_one.steps = steps_of_experts();
  cases.push_back(std::move(all_to_one));
}

void add_element_cases(std::vector<OperationCase>& cases) {
  cases.push_back(rms_norm_case("rms_norm_576", 576, 1e-5f));
  cases.push_back(rms_norm_case("rms_norm_odd_width_33", 33, 1e-6f));
  cases.push_back(element_case("rms_norm_per_head", 4 * 80, [](Tensor x) {
    const Tensor weight = x.recorder().weights().vector("q_norm.weight", {{Axis::head_dim, 80}});
    return rms_norm(reshape(x, {Symbol::rows, 4, 80}), weight, {});
  }));
  cases.push_back(element_case("softcap_30", 50, [](Tensor x) { return softcap(x, 30.0f); }));
  cases.push_back(element_case("softcap_half", 50, [](Tensor x) { return softcap(x, 0.5f); }));
  cases.push_back(
      element_case("act_silu", 50, [](Tensor x) { return act(x, ActAttributes::Kind::silu); }));
  cases.push_back(element_case("act_gelu_tanh", 50,
                               [](Tensor x) { return act(x, ActAttributes::Kind::gelu_tanh); }));
  cases.push_back(element_case("act_sigmoid", 50,
                               [](Tensor x) { return act(x, ActAttributes::Kind::sigmoid); }));
  cases.push_back(gated_case("gated_silu", {}));
  cases.push_back(gated_case("gated_gelu_tanh", {GateKind::gelu_tanh}));
  cases.push_back(gated_case("gated_oai", {GateKind::oai}));
  cases.push_back(rope_case("rope_64", 9, 64, 64, 1.0f));
  cases.push_back(rope_case("rope_80", 4, 80, 80, 1.0f));
  cases.push_back(rope_case("rope_128_scaled", 3, 128, 128, 1.3465735f));
  cases.push_back(rope_case("rope_partial_48_of_64", 2, 64, 48, 1.0f));
}

OperationCase rows_case(const std::string& name,
                        const std::function<Tensor(Recorder&, Tensor)>& fn) {
  OperationCase result;
  result.name = name;
  result.record = [=](Recorder& r) { r.output("result", fn(r, case_input(r, "x", 48))); };
  result.steps = mixed_steps();
  result.steps.push_back(mixed_steps().front());
  return result;
}

void add_logits_cases(std::vector<OperationCase>& cases) {
  OperationCase view;
  view.name = "logits_view";
  view.record = [](Recorder& r) {
    const Tensor logits = gather_rows(case_input(r, "x", 500), r.logit_rows());
    const LogitsViewTensors tensors = logits_view(logits, r.temperatures(), 40);
    r.output(kLogitsOutput, logits);
    r.output(kStatisticsOutput, tensors.statistics);
    r.output(kCandidateIdsOutput, tensors.ids);
    r.output(kCandidateLogitsOutput, tensors.logits);
  };
  view.steps = {{{{RowClass::prompt, 33, {0}}}, true}, {{{RowClass::generated, 1, {0, 1}}}}};
  cases.push_back(view);
  OperationCase draw = view;
  draw.name = "sample";
  draw.record = [](Recorder& r) {
    const Tensor logits = gather_rows(case_input(r, "x", 100), r.logit_rows());
    const LogitsViewTensors tensors = logits_view(logits, r.temperatures(), 40);
    r.output("ids", sample(tensors, r.temperatures(), r.random()));
  };
  cases.push_back(draw);
}

}  // namespace

std::vector<OperationCase> row_operation_cases() {
  std::vector<OperationCase> cases;
  for (const FormatTraits& format : all_formats()) {
    cases.push_back(embed_case(std::string("embed_") + format.name, format.format, 1.0f));
  }
  cases.push_back(embed_case("embed_scaled", Format::bf16, 16.0f));
  add_element_cases(cases);
  cases.push_back(route_case("route_top4_softmax_chosen", {4, false}, "router.bias"));
  cases.push_back(route_case("route_top4_softmax_all", {4, true}, ""));
  for (const auto& [ending, first] : {std::pair("chosen", false), std::pair("all", true)}) {
    for (const char* scores : {"with_nan", "with_few_numbers"}) {
      cases.push_back(route_case(std::string("route_top4_softmax_") + ending + "_" + scores,
                                 {4, first}, std::string("router.bias_") + scores));
    }
  }
  cases.push_back(route_case("route_top1", {1, false}, ""));
  add_experts_cases(cases);
  cases.push_back(rows_case("gather_rows", [](Recorder& r, Tensor x) {
    return gather_rows(reshape(x, {Symbol::rows, 6, 8}), r.logit_rows());
  }));
  cases.push_back(rows_case(
      "pool_last", [](Recorder&, Tensor x) { return pool(x, PoolAttributes::Kind::last); }));
  cases.push_back(rows_case(
      "pool_mean", [](Recorder&, Tensor x) { return pool(x, PoolAttributes::Kind::mean); }));
  add_logits_cases(cases);
  return cases;
}

}  // namespace dunlin

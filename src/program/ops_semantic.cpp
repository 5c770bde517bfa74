// Recording of the semantic operations.
#include <fmt/format.h>

#include "program/ops.h"
#include "program/ops_node.h"

namespace dunlin {

Tensor embed(Tensor ids, Tensor weight, float scale, std::source_location where) {
  return record_one(Op::embed, EmbedAttributes{scale}, {ids, weight}, where);
}

Tensor linear(Tensor x, Tensor weight, std::source_location where) {
  return linear(x, weight, Tensor(), where);
}

Tensor linear(Tensor x, Tensor weight, Tensor bias, std::source_location where) {
  std::vector<Tensor> operands = {x, weight};
  if (bias.defined()) operands.push_back(bias);
  return record_one(Op::linear, NoAttributes{}, operands, where, {},
                    weight_label(weight, op_name(Op::linear)));
}

Tensor rms_norm(Tensor x, Tensor weight, RmsNormAttributes attributes, std::source_location where) {
  return record_one(Op::rms_norm, attributes, {x, weight}, where);
}

Tensor rope_angles(Tensor positions, RopeAnglesAttributes attributes, std::source_location where) {
  return record_one(Op::rope_angles, std::move(attributes), {positions}, where);
}

Tensor rope(Tensor x, Tensor angles, RopeAttributes attributes, std::source_location where) {
  return record_one(Op::rope, attributes, {x, angles}, where);
}

Tensor attention(Tensor q, Tensor k, Tensor v, Tensor sinks, AttentionAttributes attributes,
                 std::source_location where) {
  std::vector<Tensor> operands = {q, k, v};
  attributes.has_sinks = sinks.defined();
  if (sinks.defined()) operands.push_back(sinks);
  const Recorder& recorder = recorder_of(Op::attention, operands, where);
  attributes.stateful = attributes.stateful && recorder.options().stateful;
  if (!attributes.stateful) attributes.group = attributes.layer = 0;
  return record_one(Op::attention, attributes, operands, where);
}

Tensor gated(Tensor gate, Tensor up, GatedAttributes attributes, std::source_location where) {
  return record_one(Op::gated, attributes, {gate, up}, where);
}

Routes route(Tensor x, Tensor weight, Tensor bias, RouteAttributes attributes,
             std::source_location where) {
  std::vector<Tensor> operands = {x, weight};
  if (bias.defined()) operands.push_back(bias);
  Recorder& recorder = recorder_of(Op::route, operands, where);
  const auto results = record_node(recorder, Op::route, attributes, operands, where);
  return {results[0], results[1]};
}

Tensor experts(Tensor x, Routes routes, ExpertWeights weights, GatedAttributes attributes,
               std::source_location where) {
  std::vector<Tensor> operands = {x,          routes.experts, routes.weights, weights.gate,
                                  weights.up, weights.down};
  for (const Tensor& bias : {weights.gate_bias, weights.up_bias, weights.down_bias}) {
    if (bias.defined()) operands.push_back(bias);
  }
  Recorder& recorder = recorder_of(Op::experts, operands, where);
  attributes.keeps_hidden = attributes.keeps_hidden || recorder.options().keeps_hidden;
  return record_node(recorder, Op::experts, attributes, operands, where).front();
}

Tensor softcap(Tensor x, float cap, std::source_location where) {
  return record_one(Op::softcap, SoftcapAttributes{cap}, {x}, where);
}

Tensor act(Tensor x, ActAttributes::Kind kind, std::source_location where) {
  return record_one(Op::act, ActAttributes{kind}, {x}, where);
}

Tensor gather_rows(Tensor x, Tensor rows, std::source_location where) {
  return record_one(Op::gather_rows, NoAttributes{}, {x, rows}, where);
}

Tensor pool(Tensor x, PoolAttributes::Kind kind, std::source_location where) {
  return record_one(Op::pool, PoolAttributes{kind}, {x}, where);
}

LogitsViewTensors logits_view(Tensor logits, Tensor temperatures, int64_t k,
                              std::source_location where) {
  Recorder& recorder = recorder_of(Op::logits_view, {logits, temperatures}, where);
  const auto results = record_node(recorder, Op::logits_view, LogitsViewAttributes{k},
                                   {logits, temperatures}, where);
  return {results[0], results[1], results[2]};
}

Tensor sample(LogitsViewTensors view, Tensor temperatures, Tensor random,
              std::source_location where) {
  return record_one(Op::sample, NoAttributes{},
                    {view.statistics, view.ids, view.logits, temperatures, random}, where);
}

Tensor tap(Tensor x, const std::string& name, std::source_location where) {
  Recorder& recorder = recorder_of(Op::tap, {x}, where);
  if (recorder.offer_tap(name)) {
    recorder.output(name, record_one(Op::tap, TapAttributes{name}, {x}, where), where);
  }
  return x;
}

Tensor tap(Tensor x, const std::string& name, int64_t layer, std::source_location where) {
  return tap(x, fmt::format("{}.{}", name, layer), where);
}

}  // namespace dunlin

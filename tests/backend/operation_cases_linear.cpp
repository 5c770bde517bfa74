// Cases of `linear` in every format and arithmetic, alone and in the chains that back ends fuse.
#include "operation_cases.h"
#include "program/ops.h"

namespace dunlin {
namespace {

// Rows 1, 2, 7, 16 and 33 of both classes.
std::vector<CaseStep> linear_steps() {
  std::vector<CaseStep> steps = steps_of_rows({1, 2, 7, 16, 33}, RowClass::prompt);
  for (const CaseStep& step : steps_of_rows({1, 2, 7, 16, 33}, RowClass::generated, 5)) {
    steps.push_back(step);
  }
  return steps;
}

Tensor matrix(Recorder& r, const std::string& name, int64_t out, int64_t in) {
  return r.weights().matrix(name, {{Axis::ffn, out}}, {{Axis::embed, in}});
}

OperationCase linear_case(const std::string& name, Format format, int64_t out, int64_t in) {
  OperationCase result;
  result.name = name;
  result.format = format;
  result.record = [=](Recorder& r) {
    r.output("result", linear(case_input(r, "x", in), matrix(r, "weight", out, in)));
  };
  result.steps = linear_steps();
  return result;
}

OperationCase bias_case() {
  OperationCase result = linear_case("linear_bias_mixed_classes", Format::q8_0, 48, 64);
  result.record = [](Recorder& r) {
    const Tensor bias = r.weights().vector("bias", {{Axis::ffn, 48}});
    r.output("result", linear(case_input(r, "x", 64), matrix(r, "weight", 48, 64), bias));
  };
  result.steps = {{{{RowClass::generated, 1, {0, 1, 2}}, {RowClass::prompt, 5, {3, 4}}}}};
  return result;
}

// Rows chosen for logits keep the class of the row they came from.
OperationCase logits_case() {
  OperationCase result = linear_case("logits_of_tied_embedding", Format::q8_0, 96, 64);
  result.record = [](Recorder& r) {
    const Tensor table =
        r.weights().matrix("embed_tokens", {{Axis::vocab, kCaseVocabulary}}, {{Axis::embed, 64}});
    const Tensor norm = r.weights().vector("norm.weight", {{Axis::embed, 64}});
    const Tensor x = rms_norm(embed(r.tokens(), table), norm, {});
    r.output(kLogitsOutput, linear(gather_rows(x, r.logit_rows()), table));
  };
  result.steps = {{{{RowClass::generated, 1, {0, 1}}, {RowClass::prompt, 9, {2}}}}};
  return result;
}

// [T,n,I]: every head of a row has the row's class.
OperationCase per_head_case() {
  OperationCase result = linear_case("linear_per_head", Format::q4_0, 24, 32);
  result.record = [](Recorder& r) {
    const Tensor x = reshape(case_input(r, "x", 96), {Symbol::rows, 3, 32});
    r.output("result", linear(x, matrix(r, "weight", 24, 32)));
  };
  result.steps = {{{{RowClass::generated, 1, {0, 1}}, {RowClass::prompt, 3, {2}}}}};
  return result;
}

OperationCase pooled_case() {
  OperationCase result = linear_case("linear_of_pooled", Format::q8_0, 24, 64);
  result.record = [](Recorder& r) {
    const Tensor x = pool(case_input(r, "x", 64), PoolAttributes::Kind::mean);
    r.output("result", linear(x, matrix(r, "weight", 24, 64)));
  };
  result.steps = {{{{RowClass::generated, 2, {0, 1}}, {RowClass::prompt, 3, {2}}}}};
  return result;
}

OperationCase norm_linear_case(Format format) {
  OperationCase result;
  result.name = std::string("norm_qkv_") + traits(format).name;
  result.format = format;
  result.record = [](Recorder& r) {
    const Tensor norm = r.weights().vector("norm.weight", {{Axis::embed, 256}});
    const Tensor x = rms_norm(case_input(r, "x", 256), norm, {});
    r.output("q", linear(x, matrix(r, "q", 144, 256)));
    r.output("k", linear(x, matrix(r, "k", 48, 256)));
    r.output("v", linear(x, matrix(r, "v", 48, 256)));
  };
  result.steps = linear_steps();
  return result;
}

OperationCase feed_forward_case(Format format) {
  OperationCase result;
  result.name = std::string("feed_forward_") + traits(format).name;
  result.format = format;
  result.record = [](Recorder& r) {
    const Tensor x = case_input(r, "x", 256);
    const Tensor norm = r.weights().vector("norm.weight", {{Axis::embed, 256}});
    const Tensor h = rms_norm(x, norm, {});
    const Tensor gate = linear(h, matrix(r, "gate", 512, 256));
    const Tensor up = linear(h, matrix(r, "up", 512, 256));
    const Tensor down = linear(gated(gate, up, {}), matrix(r, "down", 256, 512));
    r.output("result", add(x, down));
  };
  result.steps = {{{{RowClass::generated, 1, {0, 1}}, {RowClass::prompt, 7, {2}}}},
                  {{{RowClass::generated, 1, {0, 1, 2}}}}};
  return result;
}

}  // namespace

std::vector<OperationCase> linear_operation_cases() {
  std::vector<OperationCase> cases;
  for (const FormatTraits& format : all_formats()) {
    cases.push_back(linear_case(std::string("linear_") + format.name, format.format, 80, 512));
  }
  cases.push_back(linear_case("linear_odd_rows_F32", Format::f32, 17, 576));
  cases.push_back(linear_case("linear_odd_rows_BF16", Format::bf16, 17, 576));
  cases.push_back(linear_case("linear_odd_rows_Q8_0", Format::q8_0, 17, 576));
  cases.push_back(linear_case("linear_odd_rows_Q4_0", Format::q4_0, 33, 96));
  cases.push_back(linear_case("linear_odd_rows_Q5_1", Format::q5_1, 33, 96));
  cases.push_back(linear_case("linear_odd_rows_MXFP4", Format::mxfp4, 33, 96));
  cases.push_back(linear_case("linear_odd_columns_F32", Format::f32, 16, 45));
  cases.push_back(linear_case("linear_odd_columns_BF16", Format::bf16, 16, 45));
  cases.push_back(linear_case("linear_odd_columns_F16", Format::f16, 16, 72));
  cases.push_back(linear_case("linear_one_row_Q4_1", Format::q4_1, 1, 32));
  cases.push_back(bias_case());
  cases.push_back(logits_case());
  cases.push_back(per_head_case());
  cases.push_back(pooled_case());
  for (const Format format : {Format::bf16, Format::q4_k, Format::q6_k, Format::mxfp4}) {
    cases.push_back(norm_linear_case(format));
    cases.push_back(feed_forward_case(format));
  }
  return cases;
}

}  // namespace dunlin

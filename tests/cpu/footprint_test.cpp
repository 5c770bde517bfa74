// footprint() against what compile() and make_kv_state() really hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "program/ops.h"
#include "support/blocks.h"
#include "tiny_model.h"
#include "unreadable_weights.h"

namespace dunlin::cpu {
namespace {

using testing::HasSubstr;

void expect_equal_to_compiled(const TinyModel& model, const CompileOptions& options) {
  const auto backend = make_cpu_backend();
  const std::vector<int64_t> pages(model.program.kv_groups.size(), 7);
  const Footprint planned =
      backend->footprint(model.program, unreadable(model.weights), options, pages).value();
  const auto executable = backend->compile(model.program, model.weights, options).value();
  const auto state = executable->make_kv_state(pages).value();
  EXPECT_EQ(planned.weights, executable->weights_bytes());
  EXPECT_EQ(planned.activations + planned.workspace, executable->workspace_bytes());
  EXPECT_EQ(planned.kv, state->bytes());
  EXPECT_GT(planned.loading, 0u);
  EXPECT_EQ(planned.running(),
            executable->weights_bytes() + executable->workspace_bytes() + state->bytes());
}

class FootprintOfFormat : public testing::TestWithParam<const char*> {};

TEST_P(FootprintOfFormat, IsWhatCompileHolds) {
  for (const char* family : {"llama", "qwen2", "gpt_oss"}) {
    const TinyModel model = tiny_model(family, GetParam());
    for (const Precision precision :
         {Precision::automatic, Precision::exact, Precision::fast, Precision::f32}) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(testing::Message()
                     << family << " " << precision_name(precision) << " " << threads << " threads");
        expect_equal_to_compiled(model, tiny_options(precision, threads));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, FootprintOfFormat,
                         testing::Values("F32", "F16", "BF16", "Q4_0", "Q8_0", "mixed"));

TEST(Footprint, CountsWhatKeysAndValuesAreKeptAs) {
  for (const char* family : {"llama", "gpt_oss"}) {
    const TinyModel model = tiny_model(family, "BF16");
    for (const KvType type : {KvType::bf16, KvType::int8}) {
      for (const std::vector<std::string>& disabled : {std::vector<std::string>{}, {"gqa"}}) {
        CompileOptions options = tiny_options(Precision::automatic, 2);
        options.kv_type = type;
        options.disabled = disabled;
        expect_equal_to_compiled(model, options);
      }
    }
  }
}

TEST(Footprint, FollowsTheLimits) {
  const TinyModel model = tiny_model("llama", "Q8_0");
  CompileOptions options = tiny_options(Precision::automatic, 2);
  for (const int64_t rows : {1, 16, 300}) {
    options.limits.rows = rows;
    expect_equal_to_compiled(model, options);
  }
  options.limits.logit_rows = 300;
  expect_equal_to_compiled(model, options);
  options.disabled = {"gqa"};
  expect_equal_to_compiled(model, options);
}

TEST(Footprint, KnowsTheBytesOfEachWeight) {
  const TinyModel model = tiny_model("qwen2", "Q8_0");
  const Footprint planned = make_cpu_backend()
                                ->footprint(model.program, unreadable(model.weights),
                                            tiny_options(Precision::automatic), {1})
                                .value();
  uint64_t sum = 0;
  for (const uint64_t each : planned.by_weight) {
    EXPECT_GT(each, 0u);
    sum += each;
  }
  EXPECT_EQ(planned.by_weight.size(), model.program.weights.size());
  EXPECT_LE(sum, planned.weights);
  EXPECT_GT(sum + 64 * planned.by_weight.size(), planned.weights);
}

// A matrix: a line of scales for each 16 outputs, and a code for each weight, in records of 64.
TEST(Footprint, OfFastIsACodePerWeightAndAScalePerOutput) {
  const TinyModel model = tiny_model("qwen2", "BF16");
  const auto planned = [&model](Precision precision) {
    return make_cpu_backend()
        ->footprint(model.program, unreadable(model.weights), tiny_options(precision), {1})
        .value()
        .by_weight;
  };
  const std::vector<uint64_t> fast = planned(Precision::fast);
  const std::vector<uint64_t> plain = planned(Precision::automatic);
  size_t coded = 0;
  for (size_t i = 0; i < fast.size(); ++i) {
    const WeightDeclaration& weight = model.program.weights[i];
    if (weight.dims.size() < 2 || weight.name.ends_with("embed_tokens.weight")) {
      EXPECT_EQ(fast[i], plain[i]) << weight.name;
      continue;
    }
    const int64_t stripes = (extent(weight.dims[0]) + 15) / 16;
    const int64_t records = (extent(weight.dims[1]) + 63) / 64;
    EXPECT_EQ(fast[i], static_cast<uint64_t>(stripes * (64 + 1024 * records))) << weight.name;
    ++coded;
  }
  EXPECT_GE(coded, 8u);
}

// Operations without a kernel run in the reference back end, with weights of its own: here the
// broadcast of a weight.
TEST(Footprint, CountsWhatTheReferenceHolds) {
  const Program program = record("gpt_oss", {}, [](Recorder& recorder) {
                            record_gpt_oss(recorder, {});
                            const Tensor bias =
                                recorder.weights().vector("bias", {{Axis::embed, 8}});
                            recorder.output("biases", broadcast(bias, {Symbol::rows, 8}));
                          }).value();
  const auto zeros = memory_source(std::vector<std::byte>(1 << 20), "zeros");
  const WeightSource weights = [&](const std::string& name) -> Result<WeightView> {
    for (const WeightDeclaration& weight : program.weights) {
      if (weight.name != name) continue;
      WeightView view{.name = name,
                      .format = Format::f32,
                      .rows = 1,
                      .columns = 1,
                      .source = zeros,
                      .offset = 0,
                      .row_map = {}};
      view.columns = extent(weight.dims.back());
      for (size_t i = 0; i + 1 < weight.dims.size(); ++i) view.rows *= extent(weight.dims[i]);
      return view;
    }
    return model_error("no tensor " + name);
  };
  const TinyModel model{program, weights};
  expect_equal_to_compiled(model, tiny_options(Precision::automatic, 2));
}

TEST(Footprint, HasTheErrorsOfCompile) {
  const TinyModel model = tiny_model("llama", "BF16");
  const auto backend = make_cpu_backend();
  CompileOptions options = tiny_options(Precision::automatic);
  const auto groups = backend->footprint(model.program, model.weights, options, {1, 1});
  ASSERT_FALSE(groups.ok());
  EXPECT_THAT(groups.error().message, HasSubstr("page counts for 2 groups"));
  const auto huge = backend->footprint(model.program, model.weights, options, {int64_t{1} << 60});
  ASSERT_FALSE(huge.ok());
  EXPECT_EQ(huge.error().kind, ErrorKind::does_not_fit);
  options.limits.rows = 0;
  EXPECT_EQ(backend->footprint(model.program, model.weights, options, {1}).error().kind,
            ErrorKind::usage);
}

}  // namespace
}  // namespace dunlin::cpu

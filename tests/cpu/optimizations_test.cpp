// Every optimisation can be left out, alone and together with all others, and no bit changes.
#include "backend/cpu/optimizations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/memory_plan.h"
#include "case_runner.h"
#include "program/ops.h"
#include "program/recorder.h"
#include "tiny_model.h"

namespace dunlin::cpu {
namespace {

using testing::HasSubstr;

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Optimization& each : optimizations()) all.push_back(each.name);
  return all;
}

CompileOptions without(std::vector<std::string> disabled, Precision precision) {
  CompileOptions options = tiny_options(precision, 2);
  options.disabled = std::move(disabled);
  return options;
}

// The profile that keeps keys and values as that.
CompileOptions without(std::vector<std::string> disabled, KvType type) {
  CompileOptions options =
      without(std::move(disabled), type == KvType::f32 ? Precision::f32 : Precision::automatic);
  options.kv_type = type;
  return options;
}

constexpr KvType kAllKvTypes[] = {KvType::bf16, KvType::f32, KvType::int8};

// Bits of the logits of a prompt in chunks and of tokens behind it.
std::vector<uint32_t> bits(const TinyModel& model, const CompileOptions& options) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, model, options);
  std::vector<uint32_t> result;
  for (const auto& row : prompt_and_decode(session, 0, 37, 20, 6)) {
    for (const float logit : row) result.push_back(std::bit_cast<uint32_t>(logit));
  }
  return result;
}

TEST(Optimizations, HaveNamesOfTheirOwnAndALineEach) {
  const auto all = names();
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
  EXPECT_GE(all.size(), 14u);
  for (const Optimization& each : optimizations()) {
    EXPECT_GT(each.brings.size(), 10u) << each.name;
    EXPECT_THAT(each.brings, testing::Not(HasSubstr("\n")));
  }
  // What rests on others comes first, so that a bisection names it and not what it rests on.
  EXPECT_LT(std::ranges::find(all, "gated_linears"), std::ranges::find(all, "shared_input"));
  EXPECT_LT(std::ranges::find(all, "embed_norm"), std::ranges::find(all, "input_norm"));
}

TEST(Optimizations, ChangeNoBitWhenTheyAreLeftOut) {
  for (const auto& [family, format] :
       {std::pair("llama", "mixed"), std::pair("llama", "BF16"), std::pair("gpt_oss", "mixed")}) {
    const TinyModel model = tiny_model(family, format, {.logits_view_k = 9});
    for (const Precision precision : {Precision::automatic, Precision::f32}) {
      const auto wanted = bits(model, without({}, precision));
      for (const std::string& name : names())
        EXPECT_EQ(bits(model, without({name}, precision)), wanted)
            << family << ' ' << format << ' ' << name;
      EXPECT_EQ(bits(model, without(names(), precision)), wanted) << family << ' ' << format;
    }
  }
}

TEST(Optimizations, ChangeNoBitOfACacheInInt8) {
  for (const char* family : {"llama", "gpt_oss"}) {
    const TinyModel model = tiny_model(family, "BF16", {});
    const auto wanted = bits(model, without({}, KvType::int8));
    EXPECT_NE(bits(model, without({}, KvType::bf16)), wanted) << family;
    for (const char* name : {"simd_attention", "rope_attention", kGqa, kMemoryReuse})
      EXPECT_EQ(bits(model, without({name}, KvType::int8)), wanted) << family << ' ' << name;
    EXPECT_EQ(bits(model, without(names(), KvType::int8)), wanted) << family;
  }
}

TEST(Optimizations, LeaveScalarKernelsAndNoFusion) {
  const TinyModel model = tiny_model("llama", "mixed", {.logits_view_k = 9});
  const auto backend = make_cpu_backend();
  for (const KvType type : kAllKvTypes) {
    const CompileOptions options = without(names(), type);
    const auto executable = backend->compile(model.program, model.weights, options).value();
    for (const auto& [operation, kernel] : executable->kernels()) {
      EXPECT_THAT(operation, testing::Not(HasSubstr("+")));
      // These have no vector form.
      if (kernel.starts_with("gather_rows") || kernel.starts_with("rope_angles")) continue;
      EXPECT_TRUE(kernel.ends_with("_scalar") || kernel.starts_with("copy")) << kernel;
    }
    EXPECT_TRUE(backend->fusions(model.program, options).empty());
  }
}

constexpr int64_t kWideRow = 9472;  // floats: 16 such rows do not fit into kLinearWorkspaceBytes

// One linear over normed rows, of [300,kWideRow].
TinyModel wide_norm_model() {
  const auto forward = [](Recorder& recorder) {
    const AxisList width{{Axis::embed, kWideRow}};
    const Tensor table = recorder.weights().matrix("table", {{Axis::vocab, 300}}, width);
    const Tensor factors = recorder.weights().vector("norm", width);
    const Tensor x = gather_rows(embed(recorder.tokens(), table), recorder.logit_rows());
    recorder.output(kLogitsOutput, linear(rms_norm(x, factors, {}), table));
  };
  TinyModel model;
  model.program = record("wide_norm", {}, forward).value();
  model.weights = case_weights(model.program, Format::bf16);
  return model;
}

// A linear norms what its sum is added to, another what would be scaled in place before it runs.
TinyModel parallel_norm_model() {
  const auto forward = [](Recorder& recorder) {
    const AxisList width{{Axis::embed, 64}};
    const WeightScope weights = recorder.weights();
    const Tensor table = weights.matrix("table", {{Axis::vocab, 300}}, width);
    const Tensor square = weights.matrix("square", {{Axis::ffn, 64}}, width);
    const Tensor x = embed(recorder.tokens(), table);
    const Tensor sum = x + linear(rms_norm(x, weights.vector("norm", width), {}), square);
    const Tensor normed = rms_norm(sum, weights.vector("second_norm", width), {});
    const Tensor scaled = sum * weights.vector("scale", width);
    const Tensor y = scaled + linear(normed, square);
    const Tensor last =
        rms_norm(gather_rows(y, recorder.logit_rows()), weights.vector("last_norm", width), {});
    recorder.output(kLogitsOutput, linear(last, table));
  };
  TinyModel model;
  model.program = record("parallel_norm", {}, forward).value();
  model.weights = case_weights(model.program, Format::q8_0);
  return model;
}

// Two tiles of rows: more than there are threads, as many, and fewer.
TEST(InputNorm, HasTheBitsOfANormApart) {
  for (const TinyModel& model : {wide_norm_model(), parallel_norm_model()}) {
    for (const FusedStep& step : fuse(model.program))
      EXPECT_EQ(step.norm != kNoNode, !step.linears.empty()) << model.program.model;
    const auto wanted = bits(model, without({"input_norm"}, Precision::automatic));
    EXPECT_EQ(bits(model, without({"input_norm", kMemoryReuse}, Precision::automatic)), wanted);
    for (const int threads : {1, 2, 3}) {
      CompileOptions options = without({}, Precision::automatic);
      options.threads = threads;
      EXPECT_EQ(bits(model, options), wanted) << model.program.model << ' ' << threads;
    }
  }
}

TEST(InputNorm, OfWideRowsHasMemoryForATileOfThem) {
  const TinyModel model = wide_norm_model();
  const auto backend = make_cpu_backend();
  const CompileOptions options = without({}, Precision::automatic);
  const auto planned = [&](const CompileOptions& of) {
    return backend->footprint(model.program, model.weights, of, {}).value();
  };
  const Footprint with = planned(options);
  const Footprint apart = planned(without({"input_norm"}, Precision::automatic));
  EXPECT_EQ(with.activations + with.workspace,
            backend->compile(model.program, model.weights, options).value()->workspace_bytes());
  const int64_t more = options.threads * (16 * kWideRow * 4 - kLinearWorkspaceBytes);
  EXPECT_EQ(with.workspace, apart.workspace + static_cast<uint64_t>(more));
}

// The bytes of a table behind its first member.
std::string entries(const Kernels& table) {
  return {reinterpret_cast<const char*>(&table) + offsetof(Kernels, prepare),
          sizeof(Kernels) - offsetof(Kernels, prepare)};
}

TEST(KernelFamilies, HoldEveryVectorKernelAndEachSome) {
  const Isa best = cpu_features().best;
  const std::string scalar = entries(kernels(Isa::scalar));
  EXPECT_EQ(entries(enabled_kernels(best, without(names(), Precision::automatic))), scalar);
  if (best == Isa::scalar) GTEST_SKIP() << "this processor has no vector kernels";
  for (const std::string& name : names()) {
    const std::string rest = entries(enabled_kernels(best, without({name}, Precision::automatic)));
    EXPECT_EQ(rest != entries(kernels(best)), name.starts_with("simd_")) << name;
  }
}

// Rows of several sequences in each step, at last of both classes, some beyond a split of 256 positions
// and far behind the window.
std::vector<uint32_t> bits_of_batches(const TinyModel& model, const CompileOptions& options) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, model, options);
  std::vector<uint32_t> result;
  for (const std::vector<Chunk>& chunks :
       {std::vector<Chunk>{{0, 300, RowClass::prompt}, {1, 33, RowClass::prompt}},
        {{2, 1, RowClass::prompt}, {0, 40, RowClass::prompt}},
        {{0, 1, RowClass::generated}, {1, 1, RowClass::generated}, {2, 3, RowClass::generated}},
        {{0, 1, RowClass::generated}},
        {{0, 1, RowClass::generated}, {1, 70, RowClass::prompt}, {2, 2, RowClass::generated}}}) {
    for (const auto& row : session.step(chunks)) {
      for (const float logit : row) result.push_back(std::bit_cast<uint32_t>(logit));
    }
  }
  return result;
}

TEST(Gqa, LeftOutCopiesKeysAndValuesForEveryQueryHead) {
  const TinyModel model = tiny_model("gpt_oss", "BF16", {});
  const auto backend = make_cpu_backend();
  const auto compiled = [&](const CompileOptions& options) {
    return backend->compile(model.program, model.weights, options).value();
  };
  const auto copies = [](const Executable& executable) {
    const auto kernels = executable.kernels();
    return std::ranges::find(kernels, std::string("kv_repeat"),
                             &std::pair<std::string, std::string>::first) != kernels.end();
  };
  for (const KvType type : kAllKvTypes) {
    const CompileOptions options = without({}, type);
    const auto shared = compiled(options);
    const auto repeated = compiled(without({kGqa}, type));
    EXPECT_FALSE(copies(*shared));
    EXPECT_TRUE(copies(*repeated));
    // 8 query heads, each with all pages of the context.
    const int64_t pages = 8 * options.limits.context / kPageTokens;
    EXPECT_EQ(*repeated->attention_bytes(),
              static_cast<uint64_t>(pages * kv_page_bytes(type, 32) +
                                    options.threads * attention_workspace_bytes(type, 32)));
    EXPECT_GT(*repeated->attention_bytes(), *shared->attention_bytes());
  }
}

TEST(Gqa, LeftOutGivesTheBitsOfAnyBatch) {
  for (const char* family : {"llama", "gpt_oss"}) {
    const TinyModel model = tiny_model(family, "BF16", {});
    for (const KvType type : kAllKvTypes) {
      const auto wanted = bits_of_batches(model, without({}, type));
      EXPECT_EQ(bits_of_batches(model, without({kGqa}, type)), wanted) << family;
      EXPECT_EQ(bits_of_batches(model, without({kGqa, "rope_attention"}, type)), wanted) << family;
      CompileOptions one_thread = without({kGqa}, type);
      one_thread.threads = 1;
      EXPECT_EQ(bits_of_batches(model, one_thread), wanted) << family;
    }
  }
}

// The rows of ids that another step has computed; linears gather them behind a constant, and they are
// read again after that.
TinyModel chosen_rows_model() {
  const auto forward = [](Recorder& recorder) {
    const AxisList width{{Axis::embed, 64}};
    const WeightScope weights = recorder.weights();
    const Tensor table = weights.matrix("table", {{Axis::vocab, 300}}, width);
    const auto square = [&](const char* name) {
      return weights.matrix(name, {{Axis::ffn, 64}}, width);
    };
    const Tensor x = embed(gather(recorder.tokens(), recorder.logit_rows(), 0), table, 2.0f);
    const Tensor factor = constant(recorder, {64}, {0.25}, DType::f32);
    const Tensor normed = rms_norm(x, weights.vector("norm", width), {});
    const Tensor hidden = gated(linear(normed, square("gate")), linear(normed, square("up")), {});
    const Tensor sum = x * factor + linear(hidden, square("down"));
    recorder.output(kLogitsOutput, linear(sum, table));
  };
  TinyModel model;
  model.program = record("chosen_rows", {}, forward).value();
  model.weights = case_weights(model.program, Format::q8_0);
  return model;
}

TEST(EmbedNorm, HasTheBitsOfAnEmbeddingApart) {
  for (const TinyModel& model : {chosen_rows_model(), parallel_norm_model()}) {
    const auto gathers = [](const FusedStep& step) { return step.embed != kNoNode; };
    EXPECT_EQ(std::ranges::count_if(fuse(model.program), gathers), 1) << model.program.model;
    const auto wanted = bits_of_batches(model, without({"embed_norm"}, Precision::automatic));
    EXPECT_EQ(bits_of_batches(model, without({kMemoryReuse}, Precision::automatic)), wanted);
    for (const int threads : {1, 2, 64}) {
      CompileOptions options = without({}, Precision::automatic);
      options.threads = threads;
      EXPECT_EQ(bits_of_batches(model, options), wanted) << model.program.model << ' ' << threads;
    }
  }
}

TEST(Optimizations, ThatAreNotNamedStay) {
  const TinyModel model = tiny_model("llama", "mixed", {});
  const auto backend = make_cpu_backend();
  const auto options = tiny_options(Precision::automatic, 1);
  const auto plain = backend->compile(model.program, model.weights, options).value();
  auto others = options;
  others.disabled = {"prefix_reuse", "of another back end"};
  EXPECT_EQ(backend->compile(model.program, model.weights, others).value()->kernels(),
            plain->kernels());
}

TEST(Fusions, AreTheNodesThatRunWithAnother) {
  const TinyModel model = tiny_model("llama", "F32", {});
  const auto fusions = make_cpu_backend()->fusions(model.program, {});
  const std::vector<FusedNode> layer = {{"shared_input", "layers.0.attend.k_proj"},
                                        {"shared_input", "layers.0.attend.v_proj"},
                                        {"input_norm", "layers.0.rms_norm"},
                                        {"embed_norm", "embed"},
                                        {"rope_attention", "layers.0.attend.rope"},
                                        {"rope_attention", "layers.0.attend.rope_2"},
                                        {"residual_add", "layers.0.add"},
                                        {"shared_input", "layers.0.feed_forward.up_proj"},
                                        {"gated_linears", "layers.0.feed_forward.gated"},
                                        {"input_norm", "layers.0.rms_norm_2"},
                                        {"residual_add", "layers.0.add_2"}};
  // The second layer has no embedding; behind it comes the head's norm.
  ASSERT_EQ(fusions.size(), layer.size() + (layer.size() - 1) + 1);
  EXPECT_EQ(fusions.back(), (FusedNode{"input_norm", "rms_norm"}));
  EXPECT_TRUE(std::equal(layer.begin(), layer.end(), fusions.begin()));
}

TEST(MemoryPlan, WithoutReuseGivesEveryValueItsOwnPlace) {
  const Program program = tiny_model("qwen2", "F32", {}).program;
  const auto steps = fuse(program);
  const StepLimits limits{.rows = 64, .logit_rows = 4, .sequences = 2, .context = 64};
  const MemoryPlan reused = plan_memory(program, steps, limits);
  const MemoryPlan apart = plan_memory(program, steps, limits, /*reuse=*/false);
  EXPECT_GT(apart.bytes, reused.bytes);
  const auto distinct = [](const MemoryPlan& plan) {
    return std::set(plan.offsets.begin(), plan.offsets.end()).size();
  };
  EXPECT_GT(distinct(apart), 2 * distinct(reused));
}

// A rewrite as wrong as they come: the activation is applied to the wrong projection.
void swap_gate_and_up(Fusion& fusion, const char* name) {
  for (FusedStep& step : fusion.steps()) {
    if (step.node == kNoNode || step.gated == kNoNode) continue;
    std::swap(step.linears[0], step.linears[1]);
    step.absorbed.push_back({name, step.gated});
  }
}

TEST(ScopedRewrite, IsAnOptimizationForItsLifeAlone) {
  const TinyModel model = tiny_model("llama", "F32", {});
  const auto wanted = bits(model, without({}, Precision::f32));
  {
    const ScopedRewrite broken({"swapped", "nothing good", swap_gate_and_up});
    EXPECT_THAT(names(), testing::Contains("swapped"));
    EXPECT_NE(bits(model, without({}, Precision::f32)), wanted);
    EXPECT_EQ(bits(model, without({"swapped"}, Precision::f32)), wanted);
  }
  EXPECT_THAT(names(), testing::Not(testing::Contains("swapped")));
  EXPECT_EQ(bits(model, without({}, Precision::f32)), wanted);
}

}  // namespace
}  // namespace dunlin::cpu

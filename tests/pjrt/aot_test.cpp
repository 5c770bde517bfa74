// Programs compiled ahead of time for devices that are not here: what a decode step needs beside
// its arguments, and that a model that does not fit is told so.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "backend/pjrt/client/compiled_program.h"
#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/compile_ahead.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/target.h"
#include "bare_models.h"
#include "models/registry.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

struct Ahead {
  LoweredProgram lowered;
  Result<CompiledProgram> compiled;
};

// The bucket of a Llama with BF16 weights.
Ahead compile_for(const Target& target, const Metadata& config, const Bucket& bucket) {
  auto program = record_model(config, {.logits_view_k = 64});
  EXPECT_TRUE(program.ok()) << program.error().message;
  auto expanded = expand(*program, [](const Node& node) { return is_lowered_directly(node.op); });
  EXPECT_TRUE(expanded.ok());
  LoweringOptions options{.precision = Precision::automatic,
                          .platform = platform_of(target.plugin)};
  options.formats.assign(expanded->weights.size(), Format::bf16);
  Ahead ahead{lower(*expanded, bucket, options), Error{}};
  const auto calls = LocalCalls::load(find_plugin(target.plugin)->path);
  EXPECT_TRUE(calls.ok()) << calls.error().message;
  const auto topology = Topology::create(*calls, target.topology, target.options);
  EXPECT_TRUE(topology.ok()) << topology.error().message;
  if (topology.ok()) ahead.compiled = (*topology)->compile(ahead.lowered.text, {});
  return ahead;
}

Bucket bucket_of(BucketSegment segment, int64_t logit_rows, int64_t slots, int64_t positions) {
  return {.segments = {segment},
          .logit_rows = logit_rows,
          .kv_length = positions,
          .slots = positions,
          .groups = {{slots, positions}}};
}

int64_t bytes(const std::vector<TensorType>& types) {
  int64_t total = 0;
  for (const TensorType& type : types) total += type.bytes();
  return total;
}

// The cache is updated in place: no operation copies an array of it, in whatever order of its dimensions
// but the rows, and all of them are taken in the one layout that programs share.
void expect_state_stays(const Ahead& ahead) {
  const auto optimised = ahead.compiled->optimised();
  ASSERT_TRUE(optimised.ok()) << optimised.error().message;
  const auto operations = read_hlo(*optimised);
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  const TensorType& array = ahead.lowered.state.front();
  const int64_t cache = element_count(array.dims);
  const std::string shape = fmt::format("bf16[{}]", fmt::join(array.dims, ","));
  const std::string rows = fmt::format(",{}]", array.dims.back());  // which no weight has
  int64_t taken = 0;  // by the function itself, which keeps its name
  for (const HloOperation& it : *operations) {
    EXPECT_FALSE(it.opcode == "copy" && it.elements >= cache && it.shape.ends_with(rows))
        << it.name << " " << it.shape << "{" << fmt::format("{}", fmt::join(it.layout, ",")) << "}";
    if (it.opcode != "parameter" || it.shape != shape || !it.computation.starts_with("main"))
      continue;
    ++taken;
    EXPECT_EQ(it.layout, (std::vector<int64_t>{3, 2, 1, 0})) << it.name;
  }
  EXPECT_EQ(taken, std::ssize(ahead.lowered.state));
}

// All of it is donated, and tiles pad little: 5 % at most.
void expect_unpadded_state(const Ahead& ahead, const MemoryStats& memory) {
  const int64_t logical = bytes(ahead.lowered.state);
  EXPECT_GE(memory.aliased, logical);
  EXPECT_LE(memory.aliased * 100, logical * 105);
}

Metadata llama_config(int64_t width, int64_t layers, int64_t heads, int64_t ffn) {
  return dense_config("llama", {.width = width,
                                .layers = layers,
                                .heads = heads,
                                .kv_heads = 8,
                                .ffn = ffn,
                                .vocabulary = 128256,
                                .rope_theta = 500000.0});
}

const Metadata kLlama1b = llama_config(2048, 16, 32, 8192);
// What is said of a layer needs no sixteen of them, which GPUs compile one by one.
const Metadata kFourLayers = llama_config(2048, 4, 32, 8192);
const Metadata kFourWideHeads = llama_config(2048, 4, 16, 8192);  // of 128
const Metadata kLlama8b = llama_config(4096, 32, 32, 14336);

class AheadOfTime : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!find_plugin(target().plugin).ok()) {
      GTEST_SKIP() << find_plugin(target().plugin).error().message;
    }
  }
  static Target target() { return *find_target(GetParam()); }
};

// Heads of 64, whose values lie behind their keys on a TPU, and of 128.
TEST_P(AheadOfTime, ADecodeStepNeedsLittleBesideItsArguments) {
  for (const Metadata& config : {kFourLayers, kFourWideHeads}) {
    const Ahead ahead = compile_for(target(), config, bucket_of({8, 1, true}, 8, 8, 2048));
    ASSERT_TRUE(ahead.compiled.ok()) << ahead.compiled.error().message;
    const auto memory = ahead.compiled->memory();
    ASSERT_TRUE(memory.ok());
    RecordProperty("arguments", std::to_string(memory->arguments));
    RecordProperty("temporary", std::to_string(memory->temporary));
    expect_unpadded_state(ahead, *memory);
    EXPECT_LE(memory->temporary, memory->arguments / 100);
    expect_state_stays(ahead);
  }
}

// A loop carries the cache: it is donated as a step's is, and nothing copies it on its way in, round or
// out. So a loop needs hardly more than a step: less than one array of the cache.
TEST_P(AheadOfTime, ALoopOfDecodeStepsKeepsTheCacheWhereItIs) {
  for (const Metadata& config : {kFourLayers, kFourWideHeads}) {
    Bucket bucket = bucket_of({8, 1, true}, 8, 8, 2048);
    const Ahead step = compile_for(target(), config, bucket);
    ASSERT_TRUE(step.compiled.ok()) << step.compiled.error().message;
    bucket.steps = 8;
    const Ahead loop = compile_for(target(), config, bucket);
    ASSERT_TRUE(loop.compiled.ok()) << loop.compiled.error().message;
    const auto memory = loop.compiled->memory();
    const auto memory_of_step = step.compiled->memory();
    ASSERT_TRUE(memory.ok());
    ASSERT_TRUE(memory_of_step.ok());
    RecordProperty("arguments", std::to_string(memory->arguments));
    RecordProperty("temporary", std::to_string(memory->temporary));
    RecordProperty("temporary_of_step", std::to_string(memory_of_step->temporary));
    expect_unpadded_state(loop, *memory);
    EXPECT_LE(memory->temporary, memory->arguments / 100);
    EXPECT_LT(memory->temporary, memory_of_step->temporary + loop.lowered.state.front().bytes());
    expect_state_stays(loop);
  }
}

TEST_P(AheadOfTime, APromptNeedsMemoryForItsRowsOnly) {
  const Ahead ahead = compile_for(target(), kFourLayers, bucket_of({1, 512}, 1, 8, 8192));
  ASSERT_TRUE(ahead.compiled.ok()) << ahead.compiled.error().message;
  const auto memory = ahead.compiled->memory();
  ASSERT_TRUE(memory.ok());
  RecordProperty("temporary", std::to_string(memory->temporary));
  EXPECT_LE(memory->temporary, int64_t{256} << 20);
  expect_unpadded_state(ahead, *memory);
  expect_state_stays(ahead);
}

TEST_P(AheadOfTime, EveryProgramOfAnEngineTellsWhatItNeeds) {
  const auto program = record_model(kFourLayers, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  AheadOptions options{.pjrt = {.device = ""}, .topology = GetParam()};
  options.compile.limits = {.rows = 64, .logit_rows = 2, .sequences = 2, .context = 1024};
  options.compile.threads = 2;
  const auto result = compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  // Of one and two sequences' tokens, on GPUs in loops too, and of 16 and 64 rows of a prompt.
  EXPECT_EQ(result->programs.size(), target().plugin == "tpu" ? 4u : 6u);
  for (const AheadProgram& it : result->programs) {
    ASSERT_TRUE(it.bytes.has_value()) << it.name;
    EXPECT_GE(it.bytes->arguments, result->weights_bytes + result->kv_bytes) << it.name;
    EXPECT_GE(it.bytes->outputs, it.bytes->aliased) << it.name;
    EXPECT_GT(it.seconds, 0.0) << it.name;
    ASSERT_EQ(it.estimate.has_value(), target().plugin == "tpu") << it.name;
    if (it.estimate) {
      EXPECT_GT(it.estimate->cycles, 0) << it.name;
      EXPECT_FALSE(it.estimate->parts.empty()) << it.name;
    }
  }
}

// The question for layouts, the bytes and the compiler's estimate go through its process.
TEST_P(AheadOfTime, APluginInAProcessOfItsOwnTellsTheSame) {
  const auto program = record_model(kFourLayers, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const auto one_program = [&program](bool isolated) {
    AheadOptions options{.pjrt = {.device = ""}, .topology = GetParam()};
    options.compile.limits = {.rows = 16, .logit_rows = 2, .sequences = 2, .context = 1024};
    options.only = {"2x1 rows, 2 logit rows, 1024 positions"};
    if (isolated) options.pjrt.isolate.emplace().program = DUNLIN_BINARY;
    return compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  };
  const auto there = one_program(/*isolated=*/true);  // first: what one has answered is known
  ASSERT_TRUE(there.ok()) << there.error().message;
  const auto here = one_program(/*isolated=*/false);
  ASSERT_TRUE(here.ok()) << here.error().message;
  ASSERT_EQ(there->programs.size(), 1u);
  ASSERT_EQ(here->programs.size(), 1u);
  const AheadProgram& told = there->programs.front();
  const AheadProgram& expected = here->programs.front();
  ASSERT_TRUE(told.bytes.has_value());
  ASSERT_TRUE(expected.bytes.has_value());
  EXPECT_EQ(told.bytes->arguments, expected.bytes->arguments);
  EXPECT_EQ(told.bytes->aliased, expected.bytes->aliased);
  EXPECT_EQ(told.bytes->temporary, expected.bytes->temporary);
  ASSERT_EQ(told.estimate.has_value(), target().plugin == "tpu");
  ASSERT_EQ(expected.estimate.has_value(), told.estimate.has_value());
  if (told.estimate) {
    EXPECT_EQ(told.estimate->cycles, expected.estimate->cycles);
    EXPECT_EQ(told.estimate->parts.size(), expected.estimate->parts.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Tpu, AheadOfTime, testing::Values("v5e:1x1"));
INSTANTIATE_TEST_SUITE_P(Gpu, AheadOfTime, testing::Values("h200"));

// A slice takes programs for all of its devices.
TEST(AheadOfTimeTpu, ASliceTakesAMeshOfItsDevices) {
  if (!find_plugin("tpu").ok()) GTEST_SKIP() << find_plugin("tpu").error().message;
  const auto program = record_model(kLlama1b, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const auto on = [&](const std::string& topology, const MeshShape& mesh) {
    AheadOptions options{.pjrt = {.device = "", .mesh = mesh}, .topology = topology};
    options.compile.limits = {.rows = 16, .logit_rows = 2, .sequences = 2, .context = 1024};
    return compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  };
  const auto single = on("v5e:1x1", {});
  ASSERT_TRUE(single.ok()) << single.error().message;
  for (const MeshShape& mesh : {MeshShape{.model = 4}, MeshShape{.data = 2, .model = 2}}) {
    const auto result = on("v5e:2x2", mesh);
    ASSERT_TRUE(result.ok()) << result.error().message;
    // Norms are on every device.
    EXPECT_LT(result->weights_bytes * mesh.model, single->weights_bytes * 101 / 100);
    EXPECT_EQ(result->kv_bytes * 4, single->kv_bytes);
    ASSERT_FALSE(result->programs.empty());
    for (const AheadProgram& it : result->programs) {
      ASSERT_TRUE(it.bytes.has_value()) << it.name;
      EXPECT_GE(it.bytes->arguments, result->weights_bytes + result->kv_bytes) << it.name;
      EXPECT_LT(it.bytes->arguments, single->weights_bytes + single->kv_bytes) << it.name;
      // Copies of the cache would be 2.6 %.
      EXPECT_LT(it.bytes->temporary * 50, it.bytes->arguments) << it.name;
    }
  }
  const auto too_few = on("v5e:2x2", {.model = 2});
  ASSERT_FALSE(too_few.ok());
  EXPECT_EQ(too_few.error().kind, ErrorKind::device);
}

// Loops on a slice: for two sequences each would hold the whole cache twice more, were it not in the
// layout that the loop wants.
TEST(AheadOfTimeTpu, ALoopOnASliceNeedsWhatAStepNeeds) {
  if (!find_plugin("tpu").ok()) GTEST_SKIP() << find_plugin("tpu").error().message;
  const auto program = record_model(kFourLayers, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  AheadOptions options{.pjrt = {.device = "", .mesh = {.model = 4}, .steps_per_call = 8},
                       .topology = "v5e:2x2"};
  options.compile.limits = {.rows = 16, .logit_rows = 2, .sequences = 2, .context = 1024};
  const auto result = compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  std::map<std::string, int64_t> temporary;
  for (const AheadProgram& it : result->programs) {
    ASSERT_TRUE(it.bytes.has_value()) << it.name;
    temporary[it.name] = it.bytes->temporary;
  }
  for (const std::string step :
       {"1x1 rows, 1 logit rows, 1024 positions", "2x1 rows, 2 logit rows, 1024 positions"}) {
    ASSERT_TRUE(temporary.contains(step)) << step;
    ASSERT_TRUE(temporary.contains(step + ", 8 steps")) << step;
    // What one of the four layers keeps.
    EXPECT_LT(temporary[step + ", 8 steps"], temporary[step] + result->kv_bytes / 4) << step;
  }
}

// Flags of libtpu as people write them, where XLA for CUDA takes typed values alone; and one that there
// is not.
TEST(AheadOfTimeTpu, TakesFlagsAsTheyAreTyped) {
  if (!find_plugin("tpu").ok()) GTEST_SKIP() << find_plugin("tpu").error().message;
  const auto program = record_model(kFourLayers, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const auto with = [&program](const std::vector<std::string>& flags) {
    AheadOptions options{.pjrt = {.device = "", .xla_options = flags}, .topology = "v5e:1x1"};
    options.compile.limits = {.rows = 16, .logit_rows = 1, .sequences = 1, .context = 1024};
    options.only = {"1x1 rows, 1 logit rows, 1024 positions"};
    return compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  };
  const auto taken =
      with({"xla_tpu_enable_latency_hiding_scheduler=true", "xla_tpu_scoped_vmem_limit_kib=32768"});
  EXPECT_TRUE(taken.ok()) << taken.error().message;
  const auto unknown = with({"xla_tpu_no_such_flag=true"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::device);
  EXPECT_NE(unknown.error().message.find("xla_tpu_no_such_flag"), std::string::npos)
      << unknown.error().message;
}

// 16 GB of BF16 weights in 16 GB of memory.
TEST(AheadOfTimeTpu, AModelThatDoesNotFitIsToldSo) {
  if (!find_plugin("tpu").ok()) GTEST_SKIP() << find_plugin("tpu").error().message;
  const Ahead ahead =
      compile_for(*find_target("v5e:1x1"), kLlama8b, bucket_of({8, 1, true}, 8, 8, 2048));
  ASSERT_FALSE(ahead.compiled.ok());
  EXPECT_EQ(ahead.compiled.error().kind, ErrorKind::does_not_fit);

  const auto program = record_model(kLlama8b, {.logits_view_k = 64});
  ASSERT_TRUE(program.ok()) << program.error().message;
  AheadOptions options{.pjrt = {.device = ""}, .topology = "v5e:1x1"};
  options.compile.limits = {.rows = 8, .logit_rows = 8, .sequences = 8, .context = 2048};
  const auto told = compile_ahead(*program, shapes_of(*program, Format::bf16), options);
  ASSERT_FALSE(told.ok());
  EXPECT_EQ(told.error().kind, ErrorKind::does_not_fit);
  EXPECT_NE(told.error().message.find("(weights of 14.96 GiB, a KV cache of 2.00 GiB)"),
            std::string::npos)
      << told.error().message;
}

}  // namespace
}  // namespace dunlin::pjrt

// What compiled programs are like: state in place, little memory, no whole-weight conversion.
#include "backend/pjrt/executable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/lower/lower.h"
#include "case_runner.h"
#include "operation_cases.h"
#include "pjrt_device.h"
#include "program/definitions.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;
using testing::Not;

// The lowered text of a case's first launch of step `step`.
std::string text_of(const std::string& name, size_t step, Precision precision) {
  const auto prepared = prepare_case(operation_case(name), {.slots = true});
  EXPECT_TRUE(prepared.ok());
  auto expanded =
      expand(prepared->program, [](const Node& node) { return is_lowered_directly(node.op); });
  EXPECT_TRUE(expanded.ok());
  const LaunchPlanner planner(prepared->program, prepared->limits, /*row_wise=*/true);
  std::vector<KvGroupShape> groups;
  for (size_t g = 0; g < prepared->program.kv_groups.size(); ++g) {
    groups.push_back({prepared->limits.sequences,
                      planner.pages_per_slot(static_cast<int32_t>(g)) * kPageTokens});
  }
  LoweringOptions options{.precision = precision};
  for (const WeightDeclaration& weight : expanded->weights) {
    options.formats.push_back(prepared->weights(weight.name)->format);
  }
  return lower(*expanded, planner.split(prepared->plans[step], groups)[0].bucket, options).text;
}

TEST(Lowered, StateIsDonatedAndNeverScattered) {
  const std::string text = text_of("attend_layer_BF16", 1, Precision::exact);
  EXPECT_THAT(text, HasSubstr("tf.aliasing_output = 0 : i32}"));
  EXPECT_THAT(text, HasSubstr("stablehlo.dynamic_update_slice"));
  EXPECT_THAT(text, Not(HasSubstr("stablehlo.scatter")));
}

TEST(Lowered, Bf16WeightsAreMultipliedAsTheyAreStored) {
  const std::string text = text_of("attend_layer_BF16", 1, Precision::exact);
  EXPECT_THAT(text, HasSubstr("tensor<256x256xbf16>"));
  EXPECT_THAT(text, Not(HasSubstr("(tensor<256x256xbf16>) -> tensor<256x256xf32>")));
  EXPECT_THAT(text, Not(HasSubstr("f64")));
}

TEST(Lowered, KeysAreNeverRepeatedToTheQueryHeads) {
  // 9 query heads over 3 kv heads: no array of places has 9 heads.
  const std::string text = text_of("attention_9_3_heads_64", 1, Precision::f32);
  EXPECT_EQ(text.find("x9x32x64x"), std::string::npos);
}

TEST(Lowered, LocationsNameTheModelsOperations) {
  EXPECT_THAT(text_of("block_gpt_oss_F32", 1, Precision::f32), HasSubstr("loc(\"layers.0."));
}

// What `-v` prints, and the bytes that are held.
TEST(Executable, SaysInWhichFormsWeightsAre) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto prepared = prepare_case(operation_case("linear_Q4_0"), {.slots = true});
  ASSERT_TRUE(prepared.ok());
  CompileOptions options;
  options.limits = prepared->limits;
  const auto executable =
      PjrtExecutable::create(test_client(), prepared->program, prepared->weights, options);
  ASSERT_TRUE(executable.ok()) << executable.error().message;
  const DeviceForm form = matrix_form(Format::q4_0, Precision::automatic, Platform::cpu);
  ASSERT_EQ(form.kind, DeviceForm::Kind::groups);
  EXPECT_THAT((*executable)->kernels(),
              testing::Contains(testing::Pair("linear", "stablehlo (" + to_string(form) + ")")));
  int64_t tables = 0;  // in float32
  int64_t matrix = 0;
  for (const WeightDeclaration& weight : prepared->program.weights) {
    const int64_t rows = extent(weight.dims[0]);
    const int64_t columns = extent(weight.dims[1]);
    if (weight.name == "weight") matrix += rows * row_bits(form, columns) / 8;
    if (weight.name != "weight") tables += rows * columns * 4;
  }
  ASSERT_GT(matrix, 0);
  EXPECT_EQ((*executable)->weights_bytes(), static_cast<uint64_t>(tables + matrix));
}

// The cache is updated in place: no operation copies an array of it. XLA for CPU widens a bf16 array
// for an update, so there only a float32 cache stays; aot_test.cpp has bf16 for real devices.
TEST(Compiled, NothingCopiesTheCache) {
  DUNLIN_NEEDS_PLUGIN();
  const char* const name = on_cpu() ? "block_dream_cached_F32" : "block_dream_cached_BF16";
  const auto prepared = prepare_case(operation_case(name), {.slots = true});
  ASSERT_TRUE(prepared.ok());
  CompileOptions options;
  options.precision = on_cpu() ? Precision::f32 : Precision::exact;
  options.limits = prepared->limits;
  auto executable =
      PjrtExecutable::create(test_client(), prepared->program, prepared->weights, options);
  ASSERT_TRUE(executable.ok()) << executable.error().message;
  auto state = (*executable)->make_kv_state(prepared->pages_per_group);
  ASSERT_TRUE(state.ok());
  const auto& own = dynamic_cast<const PjrtKvState&>(**state);
  const int64_t cache = element_count(own.types().front().dims);
  for (const StepPlan& plan : prepared->plans) {
    for (const Launch& launch : (*executable)->launches(plan, own)) {
      const auto compiled = (*executable)->compiled(launch.bucket);
      ASSERT_TRUE(compiled.ok()) << compiled.error().message;
      const auto operations = read_hlo(*(*compiled)->program->compiled().optimised());
      ASSERT_TRUE(operations.ok());
      for (const HloOperation& it : *operations) {
        EXPECT_FALSE(it.opcode == "copy" && it.elements >= cache)
            << launch.bucket.text() << ": " << it.name << " " << it.shape << " of " << it.source
            << " in " << it.computation;
      }
    }
  }
}

// Many rows over many places: memory does not grow with their product.
TEST(Compiled, PromptAttentionNeedsMemoryLinearInTheRows) {
  DUNLIN_NEEDS_PLUGIN();
  auto program = record("long", {}, [](Recorder& r) {
    const auto input = [&r](const std::string& name, int64_t heads) {
      const Tensor table =
          r.weights().matrix(name, {{Axis::vocab, 8}}, {{Axis::embed, heads * 64}});
      return reshape(embed(r.tokens(), table), {Symbol::rows, heads, 64});
    };
    const auto place = r.kv_layer(0, 2, 64);
    AttentionAttributes attributes;
    attributes.group = place.group;
    attributes.layer = place.layer;
    r.output("result", attention(input("q", 8), input("k", 2), input("v", 2), {}, attributes));
  });
  ASSERT_TRUE(program.ok());
  const auto temporary = [&](int64_t context) {
    CompileOptions options;
    options.precision = Precision::f32;
    options.limits = {.rows = 512, .logit_rows = 1, .sequences = 1, .context = context};
    auto executable = PjrtExecutable::create(test_client(), *program,
                                             case_weights(*program, Format::f32), options);
    EXPECT_TRUE(executable.ok()) << executable.error().message;
    const Bucket bucket{.segments = {{1, 512}},
                        .logit_rows = 1,
                        .kv_length = context,
                        .slots = context,
                        .groups = {{1, context}}};
    const auto compiled = (*executable)->compiled(bucket);
    EXPECT_TRUE(compiled.ok()) << compiled.error().message;
    const auto memory = (*compiled)->program->compiled().memory();
    EXPECT_EQ(memory->aliased, 2 * context * 2 * 64 * 4);
    return memory->temporary;
  };
  const int64_t small = temporary(2048);
  EXPECT_LT(temporary(8192), small + (int64_t{1} << 20));
}

}  // namespace
}  // namespace dunlin::pjrt

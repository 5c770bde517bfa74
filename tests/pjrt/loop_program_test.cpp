// The programs of loops: one `while` around a step, with what the step exchanges, and no more copies of
// the cache than the step has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/compiler.h"
#include "backend/pjrt/lower/lower.h"
#include "mesh_models.h"
#include "models/registry.h"
#include "pjrt_device.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

constexpr std::string_view kWhile = "\"stablehlo.while\"(";

// Two decoding sequences in each part of the batch.
Bucket decode_bucket(const Program& program, int64_t steps) {
  Bucket bucket{.segments = {{2, 1, /*slot_order=*/true}},
                .logit_rows = 2,
                .kv_length = 256,
                .slots = 256,
                .steps = steps};
  bucket.groups.assign(program.kv_groups.size(), {.slots = 4, .positions = 256});
  return bucket;
}

struct Compiled {
  LoweredProgram lowered;
  std::vector<HloOperation> operations = {};
  int64_t aliased = 0;  // bytes
};

void look_into(const LoadedProgram& program, Compiled& into) {
  const auto optimised = program.compiled().optimised();
  ASSERT_TRUE(optimised.ok()) << optimised.error().message;
  auto operations = read_hlo(*optimised);
  ASSERT_TRUE(operations.ok()) << operations.error().message;
  into.operations = std::move(operations).value();
  const auto memory = program.compiled().memory();
  ASSERT_TRUE(memory.ok()) << memory.error().message;
  into.aliased = memory->aliased;
}

Compiled on_one_device(const Metadata& config, int64_t steps) {
  const auto program = record_model(config, {.logits_view_k = 8});
  EXPECT_TRUE(program.ok()) << program.error().message;
  const auto expanded =
      expand(*program, [](const Node& node) { return is_lowered_directly(node.op); });
  EXPECT_TRUE(expanded.ok()) << expanded.error().message;
  LoweringOptions options{.precision = Precision::f32};
  options.formats.assign(expanded->weights.size(), Format::f32);
  Compiled result{lower(*expanded, decode_bucket(*expanded, steps), options)};
  const auto client = test_client();
  const auto compiled =
      client->compile(result.lowered.text, with_own_options(client->plugin(), {}));
  EXPECT_TRUE(compiled.ok()) << compiled.error().message << "\n" << result.lowered.text;
  if (compiled.ok()) look_into(**compiled, result);
  return result;
}

Compiled on_mesh(const Metadata& config, const MeshShape& shape, int64_t steps) {
  const MeshProgram program = mesh_program(config, shape);
  CompiledMeshProgram compiled = compile_on_mesh(program, decode_bucket(program.expanded, steps));
  Compiled result{std::move(compiled.lowered)};
  if (compiled.program != nullptr) look_into(*compiled.program, result);
  return result;
}

std::map<std::string, int64_t> counts_of(const std::vector<HloOperation>& operations,
                                         const std::vector<std::string>& opcodes) {
  std::map<std::string, int64_t> counts;
  for (const std::string& opcode : opcodes) {
    counts[opcode] = std::ranges::count_if(operations, [&](const HloOperation& it) {
      return it.opcode == opcode || it.opcode == opcode + "-start";
    });
  }
  return counts;
}

int64_t whiles_of(const Compiled& compiled) {
  return counts_of(compiled.operations, {"while"})["while"];
}

struct Exchanges {
  int64_t sums = 0;     // whole or scattered, as XLA likes
  int64_t gathers = 0;  // and whatever else moves parts
};

Exchanges exchanges_of(const Compiled& compiled) {
  auto counts = counts_of(compiled.operations, {"all-reduce", "reduce-scatter", "all-gather",
                                                "all-to-all", "collective-permute"});
  return {counts["all-reduce"] + counts["reduce-scatter"],
          counts["all-gather"] + counts["all-to-all"] + counts["collective-permute"]};
}

int64_t cache_copies(const Compiled& compiled) {
  const int64_t cache = element_count(compiled.lowered.state.front().dims);
  return std::ranges::count_if(compiled.operations, [cache](const HloOperation& it) {
    return it.opcode == "copy" && it.elements == cache;
  });
}

int64_t state_bytes(const LoweredProgram& lowered) {
  int64_t bytes = 0;
  for (const TensorType& type : lowered.state) bytes += type.bytes();
  return bytes;
}

void expect_step_in_a_while(const Compiled& loop, const Compiled& step, const std::string& what) {
  EXPECT_EQ(times_in(loop.lowered.text, kWhile), times_in(step.lowered.text, kWhile) + 1) << what;
  ASSERT_FALSE(loop.operations.empty()) << what;
  ASSERT_FALSE(step.operations.empty()) << what;
  EXPECT_EQ(whiles_of(loop), whiles_of(step) + 1) << what;
  EXPECT_EQ(loop.aliased, state_bytes(loop.lowered)) << what;
  EXPECT_LE(cache_copies(loop), cache_copies(step)) << what;
  // Ids are all that leaves the device.
  ASSERT_EQ(loop.lowered.outputs.size(), 1u) << what;
  EXPECT_EQ(loop.lowered.outputs.front(), (TensorType{Element::i32, {8, 2}})) << what;
}

TEST(LoopPrograms, AreOneWhileAroundAStep) {
  DUNLIN_NEEDS_PLUGIN();
  const Compiled step = on_one_device(llama_config(), 1);
  const Compiled loop = on_one_device(llama_config(), 8);
  EXPECT_EQ(times_in(step.lowered.text, kWhile), 0);
  expect_step_in_a_while(loop, step, "llama");
  // With a window, and a loop over experts inside.
  expect_step_in_a_while(on_one_device(gpt_oss_config(), 8), on_one_device(gpt_oss_config(), 1),
                         "gpt_oss");
}

// The body has every exchange of a step. Of those of the logits view the loop reads what the first
// brings; the sums of exponentials and of moments XLA may leave out.
TEST(LoopPrograms, ExchangeOnAMeshWhatAStepExchanges) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  for (const MeshModel& model : mesh_models()) {
    if (model.name != "llama" && model.name != "gpt_oss") continue;
    for (const MeshShape& shape : model.meshes) {
      const std::string what = model.name + " on " + to_string(shape);
      const Compiled step = on_mesh(model.config, shape, 1);
      const Compiled loop = on_mesh(model.config, shape, 8);
      expect_step_in_a_while(loop, step, what);
      for (const char* name : {"all_reduce", "all_gather", "reduce_scatter"}) {
        const std::string word = std::string("\"stablehlo.") + name + "\"";
        EXPECT_EQ(times_in(loop.lowered.text, word), times_in(step.lowered.text, word))
            << what << ": " << name;
      }
      const auto [sums, gathers] = exchanges_of(step);
      const auto [sums_of_loop, gathers_of_loop] = exchanges_of(loop);
      EXPECT_EQ(sums_of_loop, sums) << what;
      EXPECT_LE(gathers_of_loop, gathers) << what;
      EXPECT_GE(gathers_of_loop, gathers - (shape.model > 1 ? 2 : 0)) << what;
    }
  }
}

}  // namespace
}  // namespace dunlin::pjrt

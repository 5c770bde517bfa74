// Programs for a mesh: the text that is written, what collectives compute, and what compilers make
// of whole models.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/pjrt/client/hlo_summary.h"
#include "backend/pjrt/compiler.h"
#include "backend/pjrt/sharding/grid.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "mesh_models.h"
#include "pjrt_device.h"

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(MeshBuilder, WritesAModule) {
  Builder b({.axes = {{"data", 2}, {"kv", 2}}});
  const Var x =
      b.argument({Element::f32, {2, 3}}, "{tf.aliasing_output = 0 : i32}", {{"data"}, {}});
  const Var w = b.argument({Element::f32, {4}}, "", {{"data", "kv"}});
  const Var y = b.all_reduce(w, {{0, 1}, {2, 3}});
  EXPECT_EQ(
      b.finish({x, y}, {{{"data"}}, {{"data"}}}),
      "module @dunlin {\n"
      "  sdy.mesh @mesh = <[\"data\"=2, \"kv\"=2]>\n"
      "  func.func public @main(%arg0: tensor<4x3xf32> {sdy.sharding = #sdy.sharding<@mesh, "
      "[{\"data\"}, {}]>, tf.aliasing_output = 0 : i32}, %arg1: tensor<16xf32> {sdy.sharding = "
      "#sdy.sharding<@mesh, [{\"data\", \"kv\"}]>}) -> (tensor<4x3xf32> {sdy.sharding = "
      "#sdy.sharding<@mesh, [{\"data\"}, {}]>}, tensor<8xf32> {sdy.sharding = "
      "#sdy.sharding<@mesh, [{\"data\"}]>}) {\n"
      "    %whole:2 = sdy.manual_computation(%arg0, %arg1) in_shardings=[<@mesh, [{\"data\"}, "
      "{}]>, <@mesh, [{\"data\", \"kv\"}]>] out_shardings=[<@mesh, [{\"data\"}, {}]>, <@mesh, "
      "[{\"data\"}]>] manual_axes={\"data\", \"kv\"} (%part0: tensor<2x3xf32>, %part1: "
      "tensor<4xf32>) {\n"
      "    %0 = \"stablehlo.all_reduce\"(%part1) <{channel_handle = "
      "#stablehlo.channel_handle<handle = 1, type = 1>, replica_groups = dense<[[0, 1], [2, 3]]> "
      ": tensor<2x2xi64>, use_global_device_ids}> ({\n"
      "^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
      "  %s = stablehlo.add %a, %b : tensor<f32>\n"
      "  stablehlo.return %s : tensor<f32>\n"
      "}) : (tensor<4xf32>) -> tensor<4xf32>\n"
      "    sdy.return %part0, %0 : tensor<2x3xf32>, tensor<4xf32>\n"
      "    } : (tensor<4x3xf32>, tensor<16xf32>) -> (tensor<4x3xf32>, tensor<8xf32>)\n"
      "    return %whole#0, %whole#1 : tensor<4x3xf32>, tensor<8xf32>\n"
      "  }\n"
      "}\n");
}

// Device d of four has d + 1 in both elements.
std::vector<std::vector<float>> run_on_four(
    const std::function<Var(Builder&, const Var&)>& exchange, const TensorType& result) {
  Builder b({.axes = {{"data", 2}, {"kv", 2}}});
  const Splits own = {{"data", "kv"}};
  const Var x = b.argument({Element::f32, {2}}, "", own);
  const Var y = exchange(b, x);
  EXPECT_EQ(y.type, result);
  const auto client = test_client(4);
  const CompileSpec spec{.device_ids = {0, 1, 2, 3}, .shardy = true};
  const auto program = client->compile(b.finish({y}, {own}), spec);
  EXPECT_TRUE(program.ok()) << program.error().message;
  std::vector<Buffer> buffers;
  std::vector<std::vector<BufferId>> arguments;
  for (int64_t device = 0; device < 4; ++device) {
    const std::vector<float> values(2, static_cast<float>(device + 1));
    auto buffer = client->upload({Element::f32, {2}}, std::as_bytes(std::span(values)), device);
    EXPECT_TRUE(buffer.ok()) << buffer.error().message;
    buffers.push_back(std::move(buffer).value());
    arguments.push_back({buffers.back().id()});
  }
  const auto results = (*program)->execute(arguments);
  EXPECT_TRUE(results.ok()) << results.error().message;
  std::vector<std::vector<float>> values;
  for (const std::vector<Buffer>& of_device : *results) {
    std::vector<float>& part =
        values.emplace_back(static_cast<size_t>(element_count(result.dims)), 0.0f);
    EXPECT_TRUE(of_device.front().download(result, std::as_writable_bytes(std::span(part))).ok());
  }
  return values;
}

const DeviceGroups kAlongKv = {{0, 1}, {2, 3}};
const DeviceGroups kAlongData = {{0, 2}, {1, 3}};

TEST(MeshCollectives, SumTheValuesOfAGroup) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const TensorType pair{Element::f32, {2}};
  const auto sums =
      run_on_four([](Builder& b, const Var& x) { return b.all_reduce(x, kAlongKv); }, pair);
  EXPECT_THAT(sums, ElementsAre(ElementsAre(3, 3), ElementsAre(3, 3), ElementsAre(7, 7),
                                ElementsAre(7, 7)));
}

TEST(MeshCollectives, GatherThePartsOfAGroupInOrder) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto all = run_on_four(
      [](Builder& b, const Var& x) { return b.all_gather(x, 0, kAlongData); }, {Element::f32, {4}});
  EXPECT_THAT(all, ElementsAre(ElementsAre(1, 1, 3, 3), ElementsAre(2, 2, 4, 4),
                               ElementsAre(1, 1, 3, 3), ElementsAre(2, 2, 4, 4)));
}

TEST(MeshCollectives, LeaveEachDeviceItsPartOfASum) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const auto parts = run_on_four(
      [](Builder& b, const Var& x) {
        // Elements x and 10 x.
        const Var factors = b.constant(x.type, std::vector<double>{1.0, 10.0});
        return b.reduce_scatter(b.multiply(x, factors), 0, kAlongKv);
      },
      {Element::f32, {1}});
  EXPECT_THAT(parts, ElementsAre(ElementsAre(3), ElementsAre(30), ElementsAre(7), ElementsAre(70)));
}

// ---- whole models

// Two decoding sequences in each part of the batch, or a prompt.
Bucket bucket_of(const MeshProgram& program, bool decode) {
  Bucket bucket{.segments = {{decode ? 2 : 1, decode ? 1 : 16, decode}},
                .logit_rows = decode ? 2 : 1,
                .kv_length = 256,
                .slots = 256};
  bucket.groups.assign(program.expanded.kv_groups.size(), {.slots = 4, .positions = 256});
  return bucket;
}

std::vector<HloOperation> operations_of(const CompiledMeshProgram& compiled) {
  const auto optimised = compiled.program->compiled().optimised();
  EXPECT_TRUE(optimised.ok()) << optimised.error().message;
  auto operations = read_hlo(*optimised);
  EXPECT_TRUE(operations.ok()) << operations.error().message;
  return std::move(operations).value();
}

// How many operations there are of each collective, and the elements of the largest.
struct Collectives {
  std::map<std::string, int> counts = {};
  std::map<std::string, int64_t> largest = {};
};

Collectives collectives_of(const std::vector<HloOperation>& operations) {
  Collectives result;
  for (const HloOperation& it : operations) {
    for (const char* name : {"all-reduce", "all-gather", "reduce-scatter", "all-to-all",
                             "collective-permute", "collective-broadcast"}) {
      if (it.opcode != name && it.opcode != std::string(name) + "-start") continue;
      ++result.counts[name];
      result.largest[name] = std::max(result.largest[name], it.elements);
    }
  }
  return result;
}

class MeshPrograms : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { DUNLIN_NEEDS_CPU_PLUGIN(); }
};

// Of the Llama: behind the attention's output and behind the down projection, in each layer; one for
// the rows of the embedding, whose table is split; and the three rounds of the logits view.
TEST_P(MeshPrograms, TensorParallelismIsTwoSumsInEachLayer) {
  constexpr int kLayers = 2;
  for (const MeshShape& shape :
       {MeshShape{.model = 2}, MeshShape{.model = 4}, MeshShape{.data = 2, .model = 2}}) {
    const MeshProgram program = mesh_program(llama_config(), shape);
    const Bucket bucket = bucket_of(program, GetParam());
    const CompiledMeshProgram compiled = compile_on_mesh(program, bucket);
    ASSERT_NE(compiled.program, nullptr);
    Collectives found = collectives_of(operations_of(compiled));
    EXPECT_EQ(found.counts["all-reduce"], 2 * kLayers + 1) << to_string(shape);
    EXPECT_EQ(found.counts["all-gather"], 3) << to_string(shape);
    EXPECT_EQ(found.counts.size(), 2u) << to_string(shape);
    // Rows of the model's width, and candidates: no weight, and no row of logits.
    EXPECT_EQ(found.largest["all-reduce"], bucket.rows() * 64);
    EXPECT_EQ(found.largest["all-gather"], bucket.logit_rows * shape.model * (2 * 8 + 3));
  }
}

TEST_P(MeshPrograms, PartsOfTheBatchExchangeNothing) {
  const MeshProgram program = mesh_program(llama_config(), {.data = 4});
  const CompiledMeshProgram compiled = compile_on_mesh(program, bucket_of(program, GetParam()));
  ASSERT_NE(compiled.program, nullptr);
  EXPECT_TRUE(collectives_of(operations_of(compiled)).counts.empty());
}

// Rows go to the experts and come back: x, and what was chosen for it; XLA may make a sum and a slice
// of what comes back.
TEST_P(MeshPrograms, ExpertsAreSentRowsAndNothingElse) {
  constexpr int kLayers = 2;
  const MeshProgram program = mesh_program(gpt_oss_config(), {.expert = 2});
  const Bucket bucket = bucket_of(program, GetParam());
  const CompiledMeshProgram compiled = compile_on_mesh(program, bucket);
  ASSERT_NE(compiled.program, nullptr);
  Collectives found = collectives_of(operations_of(compiled));
  EXPECT_EQ(found.counts["all-gather"], 2 * kLayers);
  EXPECT_EQ(found.counts["reduce-scatter"] + found.counts["all-reduce"], kLayers);
  EXPECT_EQ(found.counts["all-to-all"] + found.counts["collective-permute"], 0);
  EXPECT_EQ(found.largest["all-gather"], 2 * bucket.rows() * 64);
}

// XLA for CPU copies an array of the cache on its way into a manual computation where single rows
// update it; libtpu does not (AheadOfTimeTpu.ASliceTakesAMeshOfItsDevices).
TEST_P(MeshPrograms, NothingCopiesTheCacheOrRepeatsItsHeads) {
  for (const MeshModel& model : mesh_models()) {
    const MeshShape& shape = model.meshes.back();
    const MeshProgram program = mesh_program(model.config, shape);
    const CompiledMeshProgram compiled = compile_on_mesh(program, bucket_of(program, GetParam()));
    ASSERT_NE(compiled.program, nullptr);
    const Shape cache = compiled.lowered.state.front().dims;
    const std::string places = fmt::format(",{},{}]", cache[2], cache[3]);
    int seen = 0;
    for (const HloOperation& it : operations_of(compiled)) {
      if (!it.shape.ends_with(places) || it.shape.starts_with("(")) continue;
      ++seen;
      if (!GetParam()) {
        EXPECT_FALSE(it.opcode == "copy" && it.elements == element_count(cache))
            << model.name << ": " << it.name << " " << it.shape;
      }
      EXPECT_LE(it.elements, element_count(cache)) << model.name << ": " << it.name;
    }
    EXPECT_GT(seen, 0) << model.name;
    const auto memory = compiled.program->compiled().memory();
    ASSERT_TRUE(memory.ok());
    int64_t bytes = 0;
    for (const TensorType& type : compiled.lowered.state) bytes += type.bytes();
    EXPECT_EQ(memory->aliased, bytes) << model.name;
  }
}

// All arrays of a group at once, and nothing where all devices have the same sequences.
TEST(MeshText, APageThatMovesIsOneGather) {
  const auto gathers = [](const Metadata& config, const MeshShape& shape) {
    const MeshProgram program = mesh_program(config, shape);
    const Bucket bucket = bucket_of(program, true);
    const ProgramSharding& sharding = *program.options.sharding;
    const std::vector<TensorType> types =
        state_types(program.expanded, bucket.groups, Element::f32, &sharding);
    const int32_t arrays = 2 * program.expanded.kv_groups.front().layers;
    const std::string text =
        lower_page_copy({types.begin(), types.begin() + arrays}, sharding, /*group=*/0);
    int count = 0;
    for (size_t at = text.find("stablehlo.all_gather"); at != std::string::npos;
         at = text.find("stablehlo.all_gather", at + 1)) {
      ++count;
    }
    return count;
  };
  EXPECT_EQ(gathers(llama_config(), {.data = 2}), 1);
  EXPECT_EQ(gathers(llama_config(), {.data = 2, .model = 2}), 1);
  EXPECT_EQ(gathers(gpt_oss_config(), {.expert = 2}), 1);
  EXPECT_EQ(gathers(llama_config(), {.model = 2}), 0);
}

const auto decode_or_prompt = [](const auto& parameter) {
  return std::string(parameter.param ? "Decode" : "Prompt");
};
INSTANTIATE_TEST_SUITE_P(Steps, MeshPrograms, testing::Bool(), decode_or_prompt);

TEST(MeshText, ArgumentsCarryTheTable) {
  const MeshProgram program = mesh_program(llama_config(), {.data = 2, .model = 2});
  const LoweredProgram lowered = lower(program.expanded, bucket_of(program, true), program.options);
  EXPECT_THAT(lowered.text, HasSubstr("sdy.mesh @mesh = <[\"data\"=2, \"kv\"=2]>"));
  // Four slots of each part of the batch, one kv head of each device, donated.
  EXPECT_THAT(lowered.text,
              HasSubstr("tensor<8x2x256x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{\"data\"}, "
                        "{\"kv\"}, {}, {}]>, tf.aliasing_output = 0 : i32}"));
  EXPECT_THAT(lowered.text, Not(HasSubstr("stablehlo.scatter")));
}

}  // namespace
}  // namespace dunlin::pjrt

// The KV arrays: which there are, that every program that shares them has them in one layout, and what
// is said where a plug-in takes none.
#include "backend/pjrt/layout_probe.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <sstream>
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
#include "support/warning_test.h"

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kRowMajor = "mhlo.layout_mode = \"{3,2,1,0}\"";

MeshProgram on_platform(const Metadata& config, Platform platform) {
  const auto program = record_model(config, {.logits_view_k = 8});
  EXPECT_TRUE(program.ok()) << program.error().message;
  auto expanded = expand(*program, [](const Node& node) { return is_lowered_directly(node.op); });
  EXPECT_TRUE(expanded.ok()) << expanded.error().message;
  MeshProgram result{std::move(expanded).value(),
                     {.precision = Precision::f32, .platform = platform}};
  result.options.formats.assign(result.expanded.weights.size(), Format::f32);
  return result;
}

std::vector<KvGroupShape> two_slots(const Program& program) {
  const KvGroupShape shape{.slots = 2, .positions = 256};
  return std::vector<KvGroupShape>(program.kv_groups.size(), shape);
}

Bucket cache_bucket(const Program& program, const BucketSegment& segment, int64_t steps = 1) {
  return {.segments = {segment},
          .logit_rows = segment.rows_each == 1 ? segment.sequences : 1,
          .kv_length = 256,
          .slots = 256,
          .steps = steps,
          .groups = two_slots(program)};
}

// A step, a prompt and a loop of steps.
std::vector<Bucket> cache_buckets(const Program& program) {
  return {cache_bucket(program, {2, 1, true}), cache_bucket(program, {1, 16}),
          cache_bucket(program, {2, 1, true}, 8)};
}

// As arguments and as results.
void expect_one_layout(const Program& program, LoweringOptions options, int64_t arrays) {
  for (const bool pins : {true, false}) {
    options.pins_layout = pins;
    const std::vector<TensorType> types = state_types(program, two_slots(program), options);
    ASSERT_EQ(std::ssize(types), arrays);
    const int64_t both = pins ? 2 * arrays : 0;
    for (const Bucket& bucket : cache_buckets(program)) {
      const LoweredProgram lowered = lower(program, bucket, options);
      EXPECT_EQ(lowered.state, types) << bucket.text();
      EXPECT_EQ(times_in(lowered.text, kRowMajor), both) << bucket.text();
      EXPECT_EQ(times_in(lowered.text, "tf.aliasing_output"), arrays) << bucket.text();
    }
    EXPECT_EQ(times_in(lower_page_copy(types, options), kRowMajor), both);
    EXPECT_EQ(times_in(lower_place_clear(types, options), kRowMajor), both);
    EXPECT_EQ(times_in(zeros_text(types.front(), options), kRowMajor), pins ? 1 : 0);
  }
}

// Two layers: one array each on a TPU, two of each elsewhere.
TEST(KvLayout, IsSaidInEveryProgramThatSharesTheArrays) {
  const MeshProgram narrow = on_platform(llama_config(), Platform::tpu);
  expect_one_layout(narrow.expanded, narrow.options, 2);
  const MeshProgram apart = on_platform(llama_config(), Platform::gpu);
  expect_one_layout(apart.expanded, apart.options, 4);
  MeshProgram split = mesh_program(llama_config(), {.data = 2, .model = 2});
  expect_one_layout(split.expanded, split.options, 4);
  split.options.platform = Platform::tpu;
  expect_one_layout(split.expanded, split.options, 2);
}

TEST(KvLayout, NarrowHeadsLieBesideTheirValues) {
  for (const Platform platform : {Platform::tpu, Platform::cpu}) {
    for (const int64_t narrow : {1, 16, 64}) EXPECT_TRUE(keys_beside_values(narrow, platform));
    for (const int64_t wide : {65, 80, 128, 256})
      EXPECT_FALSE(keys_beside_values(wide, platform)) << wide;
  }
  EXPECT_FALSE(keys_beside_values(64, Platform::gpu));
  EXPECT_FALSE(keys_beside_values(64, Platform::other));
}

// Two kv heads of 16, in two groups of a layer each for the mixture.
TEST(KvLayout, TheBytesAreTheSame) {
  for (const Metadata& config : {llama_config(), gpt_oss_config()}) {
    const MeshProgram it = on_platform(config, Platform::tpu);
    LoweringOptions other = it.options;
    other.platform = Platform::gpu;
    const auto together = state_types(it.expanded, two_slots(it.expanded), it.options);
    const auto apart = state_types(it.expanded, two_slots(it.expanded), other);
    ASSERT_EQ(together.size(), 2u);
    ASSERT_EQ(apart.size(), 4u);
    for (const TensorType& type : together) {
      EXPECT_THAT(type.dims, ElementsAre(2, 2, 256, 32));
      EXPECT_EQ(type.bytes(), 2 * apart.front().bytes());
    }
    for (const TensorType& type : apart) EXPECT_THAT(type.dims, ElementsAre(2, 2, 256, 16));
  }
}

// Of 1024 positions a step of the smallest bucket reads 256, from rows of both or from keys and values.
TEST(KvLayout, AStepReadsNoMorePositionsThanItsBucketHas) {
  for (const Platform platform : {Platform::tpu, Platform::gpu}) {
    const MeshProgram it = on_platform(llama_config(), platform);
    Bucket bucket = cache_bucket(it.expanded, {2, 1, true});
    for (KvGroupShape& group : bucket.groups) group.positions = 1024;
    const std::string text = lower(it.expanded, bucket, it.options).text;
    const int64_t width = platform == Platform::tpu ? 32 : 16;
    const std::string read = fmt::format("sizes = [2, 2, 256, {}] : (tensor<2x2x1024x", width);
    EXPECT_EQ(times_in(text, read), platform == Platform::tpu ? 2 : 4);
    std::istringstream lines(text);
    int products = 0;
    for (std::string line; std::getline(lines, line);) {
      if (times_in(line, "stablehlo.dot_general") == 0) continue;
      ++products;
      EXPECT_EQ(times_in(line, "x1024x"), 0) << line;
    }
    EXPECT_GT(products, 0);
  }
}

// What the plug-in made of it: a step, a prompt and a loop take every array as it lies. Within them a
// compiler may turn what it reads as it likes.
TEST(KvLayout, CompiledProgramsHaveIt) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = test_client();
  for (const Platform platform : {Platform::cpu, Platform::other}) {
    const MeshProgram it = on_platform(llama_config(), platform);
    for (const Bucket& bucket : cache_buckets(it.expanded)) {
      const LoweredProgram lowered = lower(it.expanded, bucket, it.options);
      const auto compiled = client->compile(lowered.text, with_own_options(client->plugin(), {}));
      ASSERT_TRUE(compiled.ok()) << compiled.error().message << "\n" << lowered.text;
      const auto optimised = (*compiled)->compiled().optimised();
      ASSERT_TRUE(optimised.ok()) << optimised.error().message;
      const auto operations = read_hlo(*optimised);
      ASSERT_TRUE(operations.ok()) << operations.error().message;
      const std::string shape = fmt::format("f32[{}]", fmt::join(lowered.state.front().dims, ","));
      int64_t seen = 0;
      for (const HloOperation& operation : *operations) {
        const bool of_entry = operation.computation.starts_with("main");
        if (operation.opcode != "parameter" || operation.shape != shape || !of_entry) continue;
        ++seen;
        EXPECT_THAT(operation.layout, ElementsAre(3, 2, 1, 0)) << operation.name;
      }
      EXPECT_EQ(seen, std::ssize(lowered.state)) << bucket.text();
    }
  }
}

using LayoutProbe = WarningTest;

TEST_F(LayoutProbe, PinsAnArgumentAndWhatItBecomes) {
  for (const int64_t devices : {1, 4}) {
    const std::string text = layout_probe(devices, /*pinned=*/true);
    EXPECT_EQ(times_in(text, kRowMajor), 2);
    EXPECT_EQ(times_in(text, "tf.aliasing_output = 0"), 1);
    EXPECT_EQ(times_in(layout_probe(devices, /*pinned=*/false), "layout_mode"), 0);
  }
}

TEST_F(LayoutProbe, ThePluginTakesThem) {
  DUNLIN_NEEDS_PLUGIN();
  EXPECT_TRUE(takes_layouts(*test_client(), 1, {}));
  if (on_cpu()) {
    EXPECT_TRUE(takes_layouts(*test_client(4), 4, {}));
  }
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(LayoutProbe, ARefusalIsSaidOnce) {
  int compiled = 0;
  const TryCompile refuse = [&compiled](const std::string& text) -> Result<void> {
    ++compiled;
    if (times_in(text, "layout_mode") == 0) return {};
    return Error{ErrorKind::device, "no such attribute"};
  };
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(takes_layouts("a plug-in that refuses", 1, refuse));
  EXPECT_EQ(compiled, 2);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("a plug-in that refuses takes no layout of the KV "
                                               "cache")));
  EXPECT_THAT(warnings_.front(), HasSubstr("no such attribute"));
  // Programs for several devices are others.
  EXPECT_FALSE(takes_layouts("a plug-in that refuses", 4, refuse));
  EXPECT_EQ(compiled, 4);
}

// A wrong option, or a device that is gone: that is told where programs are compiled.
TEST_F(LayoutProbe, WhatElseIsWrongIsNoRefusal) {
  const TryCompile fail = [](const std::string&) -> Result<void> {
    return Error{ErrorKind::device, "no such option"};
  };
  EXPECT_TRUE(takes_layouts("a plug-in that fails", 1, fail));
  const TryCompile without_memory = [](const std::string& text) -> Result<void> {
    if (times_in(text, "layout_mode") == 0) return {};
    return Error{ErrorKind::does_not_fit, "no memory"};
  };
  EXPECT_TRUE(takes_layouts("a plug-in that fails", 1, without_memory));
  EXPECT_THAT(warnings_, IsEmpty());
  // Nothing is known of it yet.
  const TryCompile refuse = [](const std::string& text) -> Result<void> {
    if (times_in(text, "layout_mode") == 0) return {};
    return Error{ErrorKind::device, "no such attribute"};
  };
  EXPECT_FALSE(takes_layouts("a plug-in that fails", 1, refuse));
  EXPECT_FALSE(takes_layouts("a plug-in that fails", 1, fail));
  EXPECT_EQ(warnings_.size(), 1u);
}

}  // namespace
}  // namespace dunlin::pjrt

#include "mesh_models.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "backend/pjrt/compiler.h"
#include "bare_models.h"
#include "models/registry.h"
#include "pjrt_device.h"
#include "program/definitions.h"

namespace dunlin::pjrt {
namespace {

Metadata of_family(const std::string& family, int64_t heads = 4, int64_t kv_heads = 2) {
  Metadata config = dense_config(family, {.width = 64,
                                          .layers = 2,
                                          .heads = heads,
                                          .kv_heads = kv_heads,
                                          .ffn = 160,
                                          .vocabulary = 160});
  config.set("head_dim", int64_t{16});
  config.set("mask_token_id", int64_t{3});
  return config;
}

}  // namespace

Metadata llama_config(int64_t heads, int64_t kv_heads) {
  return of_family("llama", heads, kv_heads);
}

Metadata gpt_oss_config() {
  Metadata config = of_family("gpt_oss");
  config.set("intermediate_size", int64_t{32});
  config.set("num_local_experts", int64_t{4});
  config.set("num_experts_per_tok", int64_t{2});
  config.set("sliding_window", int64_t{16});
  return config;
}

const std::vector<MeshModel>& mesh_models() {
  static const std::vector<MeshShape> kDense = {
      {.data = 2}, {.model = 2}, {.model = 4}, {.data = 2, .model = 2}};
  static const std::vector<MeshModel> kModels = {
      {"llama", llama_config(), kDense},
      {"llama with groups of three", llama_config(9, 3), {{.model = 2}, {.data = 2, .model = 2}}},
      {"qwen2", of_family("qwen2"), kDense},
      {"dream", of_family("Dream"), kDense},
      {"gpt_oss",
       gpt_oss_config(),
       {{.model = 2}, {.expert = 2}, {.expert = 2, .model = 2}, {.data = 2, .expert = 2}}},
  };
  return kModels;
}

MeshProgram mesh_program(const Metadata& config, const MeshShape& shape) {
  const auto program = record_model(config, {.logits_view_k = 8});
  EXPECT_TRUE(program.ok()) << program.error().message;
  auto expanded =
      expand(*program, [](const Node& node) { return is_lowered_directly(node.op, true); });
  EXPECT_TRUE(expanded.ok()) << expanded.error().message;
  MeshProgram result{std::move(expanded).value(), {.precision = Precision::f32}};
  result.options.formats.assign(result.expanded.weights.size(), Format::f32);
  auto sharding = shard_program(result.expanded, shapes_of(result.expanded, Format::f32), shape,
                                /*splits_batch=*/true);
  EXPECT_TRUE(sharding.ok()) << sharding.error().message;
  result.options.sharding = std::move(sharding).value();
  return result;
}

CompiledMeshProgram compile_on_mesh(const MeshProgram& program, const Bucket& bucket) {
  CompiledMeshProgram result{lower(program.expanded, bucket, program.options), nullptr};
  const int64_t devices = program.options.sharding->devices();
  const auto client = test_client(devices);
  CompileSpec spec{.shardy = true};
  spec.device_ids.resize(static_cast<size_t>(devices));
  std::iota(spec.device_ids.begin(), spec.device_ids.end(), 0);
  auto compiled =
      client->compile(result.lowered.text, with_own_options(client->plugin(), std::move(spec)));
  EXPECT_TRUE(compiled.ok()) << compiled.error().message << "\n" << result.lowered.text;
  if (compiled.ok()) result.program = std::move(compiled).value();
  return result;
}

int64_t times_in(std::string_view text, std::string_view words) {
  int64_t count = 0;
  for (size_t at = text.find(words); at != std::string_view::npos; at = text.find(words, at + 1))
    ++count;
  return count;
}

}  // namespace dunlin::pjrt

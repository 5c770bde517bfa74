// Every golden model on a PJRT device: differences within 1e-4 of the largest logit in float32, the
// same greedy ids. The goldens come from transformers (tools/make_golden.py).
#include "parity/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../parity/golden_models.h"
#include "backend/api.h"
#include "base/byte_source.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "models/registry.h"
#include "parity/array_file.h"
#include "pjrt_device.h"
#include "program/mesh.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

class PjrtParity : public testing::TestWithParam<std::string> {};

TEST_P(PjrtParity, EveryTensorAgrees) {
  DUNLIN_NEEDS_PLUGIN();
  const auto report = compare_with_reference(
      model_path(GetParam(), Container::directory), golden_path(GetParam()),
      {.backend = "pjrt", .device = pjrt::test_device(), .tolerance = pjrt::tolerance().parity});
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (const ParityRow& row : report->rows) {
    EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                          << row.where;
  }
  EXPECT_EQ(report->ignored, std::vector<std::string>());
  EXPECT_GE(report->rows.size(), 4u);
}

// The same on the devices of a mesh. A prompt is one sequence: with `data` it leaves devices without
// work, and every step after it is padded.
struct OnMesh {
  std::string model;
  MeshShape mesh;
  bool kv_cache = true;
};

class PjrtMeshParity : public testing::TestWithParam<OnMesh> {};

TEST_P(PjrtMeshParity, EveryTensorAgrees) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const OnMesh& it = GetParam();
  ParityOptions options{.backend = "pjrt",
                        .device = pjrt::test_device(),
                        .mesh = it.mesh,
                        .xla_options = pjrt::quick_compilation(),
                        .tolerance = pjrt::tolerance().parity};
  if (!it.kv_cache) options.disabled = {"kv-cache"};
  const auto report = compare_with_reference(model_path(it.model, Container::directory),
                                             golden_path(it.model), options);
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (const ParityRow& row : report->rows) {
    EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                          << row.where;
  }
  EXPECT_EQ(report->ignored, std::vector<std::string>());
  EXPECT_GE(report->rows.size(), 4u);
}

// Every golden on four devices.
std::vector<OnMesh> all_on_two_by_two() {
  std::vector<OnMesh> all;
  for (const std::string& model : committed_models()) {
    all.push_back({model, {.data = 2, .model = 2}});
  }
  return all;
}

// Fewer kv heads than devices, no cache, experts.
std::vector<OnMesh> some_meshes() {
  return {{"llama_plain", {.model = 4}},  // two kv heads
          {"llama_plain", {.data = 2, .model = 2}, /*kv_cache=*/false},
          {"gpt_oss_mxfp4", {.expert = 2, .model = 2}}};
}

// What else the factoring of `model` and the padding of heads, ffn and vocabulary can meet.
std::vector<OnMesh> other_meshes() {
  return {{"llama_plain", {.model = 2}},
          {"llama_plain", {.data = 3}},
          {"llama_heads_9_3", {.model = 2}},   // groups of three heads
          {"llama_heads_9_3", {.model = 6}},   // kv 3, group 2
          {"llama_defaults", {.model = 8}},    // one query head of each kv head, four devices idle
          {"qwen2_untied", {.model = 4}},      // one kv head
          {"qwen2_heads_14_2", {.model = 4}},  // groups of seven
          {"dream_plain", {.model = 4}},
          {"gpt_oss_bf16", {.model = 4}},
          {"gpt_oss_bf16", {.expert = 2}},
          {"gpt_oss_mxfp4", {.expert = 3}},
          {"gpt_oss_merged", {.data = 2, .expert = 2}},
          {"gpt_oss_one_expert", {.expert = 4}}};
}

const auto model_and_mesh = [](const auto& info) {
  std::string name = info.param.model + "_" + to_string(info.param.mesh);
  std::erase(name, '=');
  std::ranges::replace(name, ',', '_');
  return info.param.kv_cache ? name : name + "_uncached";
};
INSTANTIATE_TEST_SUITE_P(TwoByTwo, PjrtMeshParity, testing::ValuesIn(all_on_two_by_two()),
                         model_and_mesh);
INSTANTIATE_TEST_SUITE_P(Some, PjrtMeshParity, testing::ValuesIn(some_meshes()), model_and_mesh);
INSTANTIATE_TEST_SUITE_P(SlowOthers, PjrtMeshParity, testing::ValuesIn(other_meshes()),
                         model_and_mesh);

// Models of 8-bit weights as others publish them.
class PjrtQuantizedParity : public testing::TestWithParam<std::string> {};

TEST_P(PjrtQuantizedParity, LogitsAreThoseOfTheDequantisedModel) {
  DUNLIN_NEEDS_PLUGIN();
  set_warning_sink([](const std::string&) {});  // of scales of activations, and of FP8 as float32
  const auto report = compare_with_reference(
      GetParam() + "/model", GetParam() + "/golden.safetensors",
      {.backend = "pjrt", .device = pjrt::test_device(), .tolerance = pjrt::tolerance().parity});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_GE(report->rows.size(), 3u);
  for (const ParityRow& row : report->rows) {
    EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                          << row.where;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PjrtQuantizedParity, testing::ValuesIn(quantized_folders()),
                         [](const auto& info) {
                           return std::filesystem::path(info.param).filename().string();
                         });

// A model that is encoded while it is loaded, against the CPU back end, which decodes the same bits: in
// float32 nothing but the order of sums differs.
struct Encoded {
  std::string model;
  Container container;
  std::string type;
  MeshShape mesh = {};
};

class PjrtPackedParity : public testing::TestWithParam<Encoded> {};

TEST_P(PjrtPackedParity, LogitsAreThoseOfTheDecodedWeights) {
  DUNLIN_NEEDS_PLUGIN();
  const Encoded& it = GetParam();
  if (it.mesh.devices() > 1 && !pjrt::on_cpu()) GTEST_SKIP() << "one device";
  const TemporaryFolder folder;
  const std::string prompt = folder.file("prompt.safetensors");
  const std::string expected = folder.file("expected.safetensors");
  const auto golden = ArrayFile::open(golden_path(it.model));
  ASSERT_TRUE(golden.ok()) << golden.error().message;
  ASSERT_TRUE(write_array_file(prompt, {{"input_ids", golden->read("input_ids").value()}}).ok());
  const std::string path = model_path(it.model, it.container);
  const auto decoded = compare_with_reference(
      path, prompt,
      {.backend = "cpu", .precision = Precision::f32, .quantize = it.type, .dump = expected});
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  const auto report = compare_with_reference(path, expected,
                                             {.backend = "pjrt",
                                              .device = pjrt::test_device(),
                                              .mesh = it.mesh,
                                              .xla_options = pjrt::quick_compilation(),
                                              .precision = Precision::f32,
                                              .quantize = it.type,
                                              .tolerance = pjrt::tolerance().parity});
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->rows.size(), 1u);
  const ParityRow& row = report->rows.front();
  EXPECT_TRUE(row.pass) << row.name << ": " << row.max_abs_diff << " of " << row.allowed << " at "
                        << row.where;
}

// Every form but those of super-blocks.
std::vector<Encoded> encoded_models() {
  std::vector<Encoded> all;
  for (const char* type : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"})
    all.push_back({"llama_plain", Container::gguf, type});
  all.push_back({"llama_plain", Container::directory, "I8"});
  all.push_back({"qwen2_tied", Container::directory, "Q8_0"});
  // Ffn 160: parts of whole blocks are 96 and 64.
  for (const char* type : {"Q4_0", "Q4_1", "Q8_0", "I8"})
    all.push_back({"llama_plain", Container::directory, type, {.data = 2, .model = 2}});
  all.push_back({"gpt_oss_bf16", Container::directory, "Q8_0", {.expert = 2}});
  return all;
}

// Super-blocks need rows of 256.
std::vector<Encoded> models_of_super_blocks() {
  std::vector<Encoded> all;
  for (const char* type : {"Q2_K", "Q3_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"})
    all.push_back({"kernel_llama3_6_2", Container::directory, type});
  return all;
}

const auto encoded_name = [](const auto& info) {
  const Encoded& it = info.param;
  return it.model + "_" + it.type + (it.mesh.devices() > 1 ? "_on_a_mesh" : "");
};
INSTANTIATE_TEST_SUITE_P(Types, PjrtPackedParity, testing::ValuesIn(encoded_models()),
                         encoded_name);
INSTANTIATE_TEST_SUITE_P(SlowTypes, PjrtPackedParity, testing::ValuesIn(models_of_super_blocks()),
                         encoded_name);

const auto model_name = [](const auto& info) { return info.param; };
INSTANTIATE_TEST_SUITE_P(Tiny, PjrtParity, testing::ValuesIn(committed_models()), model_name);
INSTANTIATE_TEST_SUITE_P(Kernel, PjrtParity, testing::ValuesIn(kernel_models()), model_name);

// Gate and up of a directory are rows in turn of one tensor, which is read for both; the devices of a
// mesh read their shares of both together.
TEST(PjrtWeights, ExpertsOfADirectoryAreReadOnce) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const std::vector<std::pair<std::string, MeshShape>> cases = {{"gpt_oss_bf16", {}},
                                                                {"gpt_oss_merged", {}},
                                                                {"gpt_oss_mxfp4", {}},
                                                                {"gpt_oss_bf16", {.model = 2}},
                                                                {"gpt_oss_bf16", {.expert = 2}},
                                                                {"gpt_oss_merged", {.expert = 2}},
                                                                {"gpt_oss_mxfp4", {.expert = 2}}};
  for (const auto& [model, mesh] : cases) {
    const auto checkpoint = open_checkpoint(model_path(model, Container::directory)).value();
    const Program program = record_model(checkpoint->config(), {}).value();
    const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
    uint64_t stored = 0;
    for (const TensorInfo& tensor : checkpoint->tensors()) stored += tensor.bytes;
    const uint64_t before = file_reads().bytes;
    const auto loaded = pjrt::test_backend(mesh).compile(
        program, weights, {.limits = {.rows = 8, .logit_rows = 1, .sequences = 1, .context = 64}});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const uint64_t read = file_reads().bytes - before;
    EXPECT_GE(read, stored / 2) << model << " on " << to_string(mesh);
    EXPECT_LE(10 * read, 11 * stored) << model << " on " << to_string(mesh);
  }
}

}  // namespace
}  // namespace dunlin

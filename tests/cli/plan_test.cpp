// `dunlin plan` as a process: what it prints and the codes it ends with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "process.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Arguments = std::vector<std::string>;

std::string config(const std::string& name) {
  return std::string(DUNLIN_SOURCE_DIR) + "/docs/planning/" + name + ".json";
}
std::string tiny(const std::string& name) {
  return std::string(DUNLIN_SOURCE_DIR) + "/tests/data/llama_plain/" + name;
}

ProcessResult plan(Arguments arguments, const std::string& budget = "") {
  arguments.insert(arguments.begin(), "plan");
  // Nothing was calibrated.
  return run_dunlin(arguments, {.environment = {{"DUNLIN_MEMORY_BUDGET", budget},
                                                {"DUNLIN_CACHE", "/nowhere/dunlin"}}});
}

TEST(PlanCommand, JsonHasTheContractsFields) {
  const ProcessResult result = plan({config("llama-3.1-70b"), "--device", "v5e-16", "--quantize",
                                     "int8", "-np", "8", "-c", "2048", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("{\"schema_version\""));
  const auto json = result.json();
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["fits"], true);
  EXPECT_EQ(json["shortfall_bytes"], 0);
  EXPECT_EQ(json["mesh"]["model"], 16);
  EXPECT_EQ(json["strategy"], "tp1");
  const auto& memory = json["per_device"];
  EXPECT_EQ(memory["weights_bytes"].get<int64_t>() + memory["kv_bytes"].get<int64_t>() +
                memory["activation_bytes"].get<int64_t>() +
                memory["workspace_bytes"].get<int64_t>() + memory["process_bytes"].get<int64_t>(),
            memory["total_bytes"].get<int64_t>());
  EXPECT_GT(memory["capacity_bytes"], memory["total_bytes"]);
  EXPECT_GE(json["max_batch"].get<int64_t>(), 8);
  EXPECT_TRUE(json["max_batch_per_device"].is_number_integer());
  for (const char* key : {"seconds", "utilisation"}) EXPECT_TRUE(json["prefill"][key].is_number());
  EXPECT_TRUE(json["prefill"]["bound"].is_string());
  for (const char* key : {"tokens_per_second", "tokens_per_second_per_sequence", "utilisation",
                          "utilisation_weights_only"}) {
    EXPECT_TRUE(json["decode"][key].is_number()) << key;
  }
  EXPECT_NEAR(json["decode"]["tokens_per_second"].get<double>(),
              8 * json["decode"]["tokens_per_second_per_sequence"].get<double>(), 1e-6);
  EXPECT_GT(json["communication_bytes_per_step"], 0);
  EXPECT_EQ(json["alternatives"].size(), 6u);
}

// What quantize writes, loaded as it is, against planning it.
TEST(PlanCommand, AMixIsWhatQuantizeWouldWrite) {
  const TemporaryFolder folder;
  for (const char* type : {"Q4_K_M", "INT8"}) {
    const std::string out = folder.file(type == std::string("INT8") ? "out" : "out.gguf");
    ASSERT_EQ(run_dunlin({"quantize", tiny("model"), out, type}).code, 0);
    for (const char* device : {"cpu", "v5e"}) {
      const auto written = plan({out, "--device", device, "--json"});
      const auto planned = plan({tiny("model"), "--device", device, "--quantize", type, "--json"});
      ASSERT_EQ(planned.code, 0) << planned.err;
      EXPECT_EQ(planned.json()["per_device"]["weights_bytes"],
                written.json()["per_device"]["weights_bytes"])
          << type << " " << device;
    }
  }
}

TEST(PlanCommand, WhatDoesNotFitEndsWithCodeFour) {
  const ProcessResult result = plan({config("llama-3.1-405b"), "--device", "v5e", "--json"});
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.err, HasSubstr("does not fit v5e: each device lacks"));
  const auto json = result.json();
  EXPECT_EQ(json["fits"], false);
  EXPECT_EQ(json["shortfall_bytes"].get<int64_t>(),
            json["per_device"]["total_bytes"].get<int64_t>() -
                json["per_device"]["capacity_bytes"].get<int64_t>());
  EXPECT_EQ(json["smallest_slice"]["name"], "v5e-64");
  EXPECT_TRUE(json["smallest_device"]["name"].is_string());
  EXPECT_EQ(json["max_batch"], 0);
  const ProcessResult text = plan({config("llama-3.1-405b"), "--device", "v5e"});
  EXPECT_EQ(text.code, 4);
  EXPECT_THAT(text.out, HasSubstr("IT DOES NOT FIT"));
  EXPECT_THAT(text.out, HasSubstr("smallest v5e slice that holds it: v5e-64"));
}

TEST(PlanCommand, SaysWhatBatchAndContextWouldFit) {
  const auto json = plan({config("llama-2-7b"), "--device", "v5e", "-np", "64", "--json"}).json();
  EXPECT_EQ(json["fits"], false);
  const int64_t batch = json["max_batch"];
  ASSERT_GT(batch, 0);
  EXPECT_EQ(plan({config("llama-2-7b"), "--device", "v5e", "-np", std::to_string(batch)}).code, 0);
  EXPECT_EQ(plan({config("llama-2-7b"), "--device", "v5e", "-np", std::to_string(batch + 1)}).code,
            4);
  const auto shorter =
      plan({config("llama-2-7b"), "--device", "v5e", "-np", std::to_string(batch + 1), "--json"})
          .json();
  const int64_t context = shorter["max_context"];
  ASSERT_GT(context, 0);
  EXPECT_EQ(plan({config("llama-2-7b"), "--device", "v5e", "-np", std::to_string(batch + 1), "-c",
                  std::to_string(context)})
                .code,
            0);
}

TEST(PlanCommand, SplitCoresSayWhichDeviceIsMeant) {
  const ProcessResult chips = plan({config("llama-3.2-1b"), "--device", "v4-8"});
  EXPECT_EQ(chips.code, 0) << chips.err;
  EXPECT_THAT(chips.out, HasSubstr("4 x TPU v4, a chip (its two cores as one device)"));
  const ProcessResult cores = plan({config("llama-3.2-1b"), "--device", "v4-8", "--split-cores"});
  EXPECT_THAT(cores.out, HasSubstr("8 x TPU v4, one of a chip's two cores"));
}

TEST(PlanCommand, PlansCheckpointsForThisMachineWithoutReadingWeights) {
  for (const char* name : {"model.gguf", "model"}) {
    const ProcessResult result = plan({tiny(name), "-c", "64", "-t", "2", "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    EXPECT_EQ(json["device"]["name"], "cpu");
    EXPECT_EQ(json["weights_assumed"], false);
    EXPECT_GT(json["per_device"]["process_bytes"], 0);
    EXPECT_GT(json["decode"]["tokens_per_second"], 0);
  }
  // A bare configuration: the formats are assumed.
  const auto json = plan({tiny("model/config.json"), "--device", "h100", "--json"}).json();
  EXPECT_EQ(json["weights_assumed"], false);  // weights lie beside it
  const auto bare = plan({config("llama-3.1-8b"), "--device", "h100", "--json"}).json();
  EXPECT_EQ(bare["weights_assumed"], true);
  EXPECT_EQ(bare["weights"], "BF16 (226)");
}

TEST(PlanCommand, ADiffusionModelIsPlannedByItsCanvases) {
  const std::string dream = config("dream-7b");
  const auto result = plan({dream, "--device", "h100", "--prompt", "32", "-n", "128", "--steps",
                            "32", "--dlm-cache", "dual", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json["family"], "dream");
  EXPECT_EQ(json["context"], 2048);
  EXPECT_EQ(json["canvas"]["positions"], 160);
  EXPECT_EQ(json["canvas"]["block_length"], 32);
  EXPECT_EQ(json["canvas"]["tokens_per_forward"], 4.0);
  EXPECT_NEAR(json["canvas"]["answer_seconds"].get<double>(),
              4 * json["canvas"]["pass_seconds"].get<double>() +
                  28 * json["canvas"]["step_seconds"].get<double>(),
              1e-9);
  EXPECT_NEAR(json["decode"]["tokens_per_second"].get<double>() *
                  json["canvas"]["answer_seconds"].get<double>(),
              128, 1e-6);
  // Without a cache every step computes the whole canvas.
  const auto exact =
      plan({dream, "--device", "h100", "--prompt", "32", "--steps", "32", "--json"}).json();
  EXPECT_TRUE(exact["canvas"]["block_length"].is_null());
  EXPECT_GT(exact["decode"]["flops"], json["decode"]["flops"]);
  const ProcessResult text = plan({dream, "--device", "h100", "--prompt", "32"});
  EXPECT_THAT(text.out, HasSubstr("128 masks behind 32 tokens, 128 passes (1.00 tokens per"));
  EXPECT_TRUE(
      plan({config("llama-3.1-8b"), "--device", "h100", "--json"}).json()["canvas"].is_null());
}

// The pass of docs/planning.md.
TEST(PlanCommand, DiffuCoderIsPlannedByItsCanvases) {
  const std::vector<std::string> flags = {config("diffucoder-7b"),
                                          "--device",
                                          "v2-8",
                                          "--mesh",
                                          "model=8",
                                          "--prompt",
                                          "1",
                                          "-n",
                                          "127",
                                          "-c",
                                          "128",
                                          "--json"};
  const auto masks = plan(flags).json();
  EXPECT_EQ(masks["family"], "dream");
  EXPECT_EQ(masks["canvas"]["positions"], 128);
  std::vector<std::string> more = flags;
  more.emplace_back("--all-logits");
  const auto rows = plan(more).json();
  EXPECT_GT(rows["prefill"]["best_seconds"], masks["prefill"]["best_seconds"]);
}

TEST(PlanCommand, RefusesCanvasesThatCannotBe) {
  const std::string dream = config("dream-7b");
  EXPECT_EQ(plan({dream, "--device", "h100", "-n", "0"}).code, 2);
  EXPECT_EQ(plan({dream, "--device", "h100", "-n", "2048", "-c", "2048"}).code, 2);
  EXPECT_EQ(plan({dream, "--device", "h100", "--steps", "0"}).code, 2);
  EXPECT_EQ(plan({dream, "--device", "h100", "--steps", "2", "--dlm-cache", "dual"}).code, 2);
  const ProcessResult other = plan({config("llama-3.1-8b"), "--device", "h100", "--steps", "4"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--steps is for diffusion models"));
}

// The same on this machine, from weights.
TEST(PlanCommand, ADiffusionModelOfThisMachine) {
  const auto result = plan({std::string(DUNLIN_SOURCE_DIR) + "/tests/data/dream_plain/model", "-t",
                            "1", "-n", "24", "--prompt", "9", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["context"], 512);
  EXPECT_EQ(result.json()["canvas"]["positions"], 33);
  EXPECT_GT(result.json()["decode"]["tokens_per_second"], 0);
}

// What it says before is what a run has.
TEST(PlanCommand, OffloadIsPlannedAsItRuns) {
  for (const char* name : {"llama_plain", "gpt_oss_mxfp4"}) {
    const std::string model = std::string(DUNLIN_SOURCE_DIR) + "/tests/data/" + name + "/model";
    const auto result =
        plan({model, "-c", "64", "-t", "2", "--offload", "auto", "--disk-gb-s", "0.001", "--json"},
             "60K");
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    const auto& offload = json["offload"];
    EXPECT_EQ(offload["budget_bytes"], 60 << 10);
    const ProcessResult run = run_dunlin({"run", model, "-c", "64", "-t", "2", "--offload", "auto",
                                          "--prompt-ids", "3,4", "-n", "1", "--json"},
                                         {.environment = {{"DUNLIN_MEMORY_BUDGET", "60K"}}});
    ASSERT_EQ(run.code, 0) << run.err;
    const auto ran = run.json()["backend"]["offload"];
    for (const char* field : {"budget_bytes", "streamed_bytes", "expert_room_bytes"})
      EXPECT_EQ(offload[field], ran[field]) << name << " " << field;
    EXPECT_EQ(json["per_device"]["weights_bytes"], offload["held_bytes"]);
    // A disk of a megabyte a second is what a step waits for.
    EXPECT_GT(offload["disk_bytes_per_step"], 0.0) << name;
    EXPECT_NEAR(offload["disk_seconds_per_step"].get<double>(),
                offload["disk_bytes_per_step"].get<double>() / 1e6, 1e-9);
    EXPECT_EQ(offload["best_seconds_per_step"], offload["disk_seconds_per_step"]);
    EXPECT_EQ(json["decode"]["bound"], "disk");
    EXPECT_GE(json["decode"]["seconds"], offload["best_seconds_per_step"]);
  }
}

TEST(PlanCommand, OffloadWithoutADisksSpeedSaysBytes) {
  const Arguments arguments = {tiny("model"), "-c", "64", "-t", "2", "--offload", "auto"};
  const ProcessResult text = plan(arguments, "60K");
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("weights held"));
  EXPECT_THAT(text.out, HasSubstr("budget of the weights: 60.00 KiB; at the least they take "));
  EXPECT_THAT(text.out, HasSubstr("--disk-gb-s or --calibrate says how long that takes"));
  Arguments more = arguments;
  more.emplace_back("--json");
  const auto offload = plan(more, "60K").json()["offload"];
  EXPECT_TRUE(offload["disk_bytes_per_second"].is_null());
  EXPECT_TRUE(offload["disk_seconds_per_step"].is_null());
  EXPECT_GT(offload["disk_bytes_per_step"], 0.0);
  // With room for everything nothing is read.
  const auto whole = plan(more, "1G").json()["offload"];
  EXPECT_EQ(whole["disk_bytes_per_step"], 0.0);
  EXPECT_EQ(whole["pinned_layers"], whole["layers"]);
  EXPECT_TRUE(plan({tiny("model"), "-c", "64", "--json"}).json()["offload"].is_null());
}

// A model that no machine holds fits where its weights may stay on disk.
TEST(PlanCommand, AModelLargerThanMemoryFitsWithOffload) {
  const std::string large = config("llama-3.1-405b");
  const ProcessResult whole = plan({large, "-c", "64", "--quantize", "F32"});
  if (whole.code != 0) {  // 0 on a machine of more than 1.6 TB
    EXPECT_EQ(whole.code, 4);
    EXPECT_THAT(whole.out,
                HasSubstr("--offload auto plans it with weights that are read from disk"));
  }
  const auto paged = plan({large, "-c", "64", "--quantize", "Q4_0", "--offload", "auto",
                           "--disk-gb-s", "3", "--json"},
                          "1M")
                         .json();
  const auto& offload = paged["offload"];
  EXPECT_EQ(offload["held_bytes"], offload["least_bytes"]);
  EXPECT_EQ(offload["pinned_bytes"], 0);
  EXPECT_EQ(offload["layers"], 126);
  EXPECT_GT(offload["streamed_bytes"].get<double>(), 50 * offload["held_bytes"].get<double>());
  EXPECT_GT(paged["decode"]["seconds"].get<double>(), 60.0);
}

TEST(PlanCommand, PriceGivesTheCostOfTokens) {
  const auto json =
      plan({config("llama-3.1-8b"), "--device", "h100", "--price", "3.6", "-np", "16", "--json"})
          .json();
  EXPECT_NEAR(json["usd_per_million_tokens"]["decoded"].get<double>(),
              1e6 * 0.001 / json["decode"]["tokens_per_second"].get<double>(), 1e-9);
  EXPECT_GT(json["usd_per_million_tokens"]["prompt"], 0);
}

TEST(PlanCommand, WritesCharts) {
  const TemporaryFolder folder;
  const std::string charts = folder.file("charts");
  const ProcessResult result =
      plan({config("llama-3.1-8b"), "--device", "v5e-4", "-np", "8", "--svg", charts, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* name : {"tokens_per_second.svg", "memory.svg"}) {
    const std::string svg = read_all(charts + "/" + name);
    EXPECT_TRUE(svg.starts_with("<svg")) << name;
    EXPECT_TRUE(svg.ends_with("</svg>\n")) << name;
  }
  write_all(folder.file("file"), "");
  EXPECT_EQ(plan({config("llama-3.1-8b"), "--device", "v5e-4", "--svg", folder.file("file")}).code,
            1);
}

TEST(PlanCommand, ADeviceOfOnesOwn) {
  const TemporaryFolder folder;
  const std::string path = folder.file("mine.json");
  write_all(path, R"({"memory_bytes": 40e9, "memory_bytes_per_second": 1e12, "bf16_flops": 1e14})");
  const ProcessResult result = plan({config("llama-3.1-8b"), "--device", path, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["per_device"]["capacity_bytes"], 40'000'000'000);
  write_all(path, R"({"memory_bytes": 40e9})");
  const ProcessResult wrong = plan({config("llama-3.1-8b"), "--device", path});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("memory_bytes_per_second is missing"));
}

TEST(PlanCommand, WrongUseIsCodeTwo) {
  const std::string model = config("llama-3.1-8b");
  const std::vector<std::pair<Arguments, std::string>> cases = {
      {{}, "name a model"},
      {{model, "--device", "v9"}, "unknown (known: v2"},
      {{model, "--device", "v5e-3"}, "no such slice"},
      {{model, "--device", "v5e-4", "--mesh", "model=3"}, "mesh model=3 has 3 devices"},
      {{model, "--device", "v5e-4", "--mesh", "tensor=4"}, "\"tensor\""},
      {{model, "--device", "v5e", "--quantize", "int3"}, "int3"},
      {{model, "--quantize", "int8"}, "the CPU back end holds no such format"},
      {{model, "--quantize", "Q4_K_M"}, "needs the names of a model's tensors"},
      {{model, "--device", "v5e", "-ctk", "q3"}, "q3"},
      {{model, "--kv-cache-dtype", "q8_0"},
       "keep keys and values in bf16, int8 or f32, not in q8_0"},
      {{model, "-ctk", "int8"}, "--cache-type-k int8 and --cache-type-v auto: "},
      {{model, "-c", "999999"}, "131072 positions"},
      {{model, "--devices", "4"}, "this machine is one device"},
      {{model, "--fill", "2"}, "fill"},
      {{model, "--device", "v5e", "--offload", "auto"}, "--offload auto needs --device cpu"},
      {{model, "--disk-gb-s", "3"}, "--disk-gb-s is for --offload auto"},
      {{model, "--offload", "some"}, "offload"},
      {{model, "--offload", "auto", "--disk-gb-s", "0"}, "disk-gb-s"},
  };
  for (const auto& [arguments, message] : cases) {
    const ProcessResult result = plan(arguments);
    EXPECT_EQ(result.code, 2) << message << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_EQ(plan({"/nowhere/config.json"}).code, 3);
}

}  // namespace
}  // namespace dunlin

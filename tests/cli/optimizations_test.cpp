// `dunlin bench optimizations`, and the names of `--disable` that change what runs, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

const std::string kMixture = test_data("data/gpt_oss_mxfp4/model");
const std::string kDense = test_data("data/qwen2_tied/model");

ProcessResult bench(const std::string& model, const Arguments& more) {
  Arguments arguments = {"bench", "optimizations", model, "-p", "20", "-n", "3", "-r", "2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_dunlin(arguments);
}

TEST(BenchOptimizations, JsonHasEveryRowInItsUnits) {
  const ProcessResult result = bench(kMixture, {"--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_THAT(result.out, testing::StartsWith("{\"schema_version\":1,"));
  EXPECT_EQ(json["optimizations"],
            (Arguments{"compiled", "gqa", "moe-grouping", "kv-cache", "precision"}));
  EXPECT_TRUE(json["left_out"].empty());
  EXPECT_EQ(json["n_prompt"], 20);
  EXPECT_EQ(json["n_gen"], 3);
  EXPECT_EQ(json["repetitions"], 2);
  EXPECT_EQ(json["ids"].size(), 4u);
  std::map<std::string, int> groups;
  for (const auto& row : json["results"]) {
    ++groups[row["group"].get<std::string>()];
    if (row.contains("rests_on")) {
      EXPECT_TRUE(row["avg_ms"].is_null()) << row;
      continue;
    }
    EXPECT_EQ(row["samples_ms"].size(), 2u);
    EXPECT_GT(row["avg_ms"].get<double>(), 0.0);
    EXPECT_NEAR(row["avg_ms"].get<double>(),
                row["prompt_ms"].get<double>() + row["gen_ms"].get<double>(), 1e-6);
    EXPECT_GT(row["brings"].get<double>(), 0.0);
    EXPECT_EQ(
        row["attention_bytes"].get<uint64_t>(),
        row["attention_kv_bytes"].get<uint64_t>() + row["attention_scratch_bytes"].get<uint64_t>());
    EXPECT_DOUBLE_EQ(row["attention_bytes_per_row"].get<double>(),
                     row["attention_bytes"].get<double>() / 23);
  }
  EXPECT_EQ(
      groups,
      (std::map<std::string, int>{
          {"baseline", 1}, {"alone", 5}, {"cumulative", 5}, {"all", 1}, {"leave-one-out", 5}}));
}

TEST(BenchOptimizations, EachRowRunsWhatItSays) {
  const auto json = bench(kMixture, {"--json"}).json();
  ASSERT_TRUE(json.is_object());
  std::map<std::string, nlohmann::json> rows;
  for (const auto& row : json["results"])
    rows[fmt::format("{} {}", row["group"].get<std::string>(), row["name"].get<std::string>())] =
        row;
  const auto baseline = rows.at("baseline none");
  const auto all = rows.at("all all");
  EXPECT_EQ(baseline["disabled"],
            (Arguments{"compiled", "gqa", "moe-grouping", "kv-cache", "precision"}));
  EXPECT_EQ(baseline["backend"], "reference");
  EXPECT_EQ(baseline["precision"], "f32");
  EXPECT_EQ(baseline["speed_up"], 1.0);
  EXPECT_TRUE(all["disabled"].empty());
  EXPECT_EQ(all["backend"], "cpu");
  EXPECT_EQ(all["precision"], "auto");
  EXPECT_EQ(rows.at("cumulative + precision")["samples_ms"], all["samples_ms"]);
  // Keys and values in float32 are twice as large, and those of every query head are many more.
  const auto bytes = [&](const std::string& name, const char* key) {
    return rows.at(name)[key].get<uint64_t>();
  };
  EXPECT_EQ(bytes("leave-one-out all - precision", "attention_kv_bytes"),
            2 * bytes("all all", "attention_kv_bytes"));
  EXPECT_GT(bytes("leave-one-out all - gqa", "attention_scratch_bytes"),
            bytes("all all", "attention_scratch_bytes"));
  EXPECT_GT(bytes("leave-one-out all - precision", "weights_bytes"),
            bytes("all all", "weights_bytes"));
}

TEST(BenchOptimizations, WhatTheModelHasNothingForIsLeftOut) {
  const ProcessResult result = bench(kDense, {"--layers", "1", "--weights", "FP8,MXFP4", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  ASSERT_EQ(json["left_out"].size(), 1u);
  EXPECT_EQ(json["left_out"][0]["name"], "moe-grouping");
  EXPECT_EQ(json["left_out"][0]["why"], "the model has no experts");
  std::set<std::string> weights;
  for (const auto& row : json["results"]) {
    if (row["group"] == "weights") weights.insert(row["quantize"].get<std::string>());
  }
  EXPECT_THAT(weights, ElementsAre("FP8", "MXFP4"));
  const auto every_head = bench(test_data("data/llama_defaults/model"), {"--json"}).json();
  EXPECT_EQ(every_head["optimizations"], (Arguments{"compiled", "kv-cache", "precision"}));
}

TEST(BenchOptimizations, PrintsATableAndWritesCharts) {
  const TemporaryFolder folder;
  const std::string charts = folder.file("charts");
  const ProcessResult result = bench(kMixture, {"--svg", charts});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* text : {"| group ", "| baseline ", "(rests on compiled)",
                           "| all - moe-grouping ", "bytes per row", "of 23 positions", "build: "})
    EXPECT_THAT(result.out, HasSubstr(text));
  for (const char* name : {"speed_up.svg", "attention_bytes.svg"}) {
    const std::string svg = read_all(charts + "/" + name);
    EXPECT_TRUE(svg.starts_with("<svg")) << name;
    EXPECT_TRUE(svg.ends_with("</svg>\n")) << name;
    EXPECT_THAT(svg, HasSubstr(">all - kv-cache<"));
    EXPECT_THAT(svg, HasSubstr(">leave-one-out<"));
  }
}

TEST(BenchOptimizations, WrongUseIsNamed) {
  EXPECT_EQ(run_dunlin({"bench", "optimizations"}).code, 2);
  EXPECT_EQ(run_dunlin({"bench", "optimizations", "/nowhere/model.gguf"}).code, 3);
  const ProcessResult beyond = run_dunlin({"bench", "optimizations", kMixture, "-p", "600"});
  EXPECT_EQ(beyond.code, 2);
  EXPECT_THAT(beyond.err, HasSubstr("more than the 512 positions"));
  const ProcessResult type = bench(kMixture, {"--weights", "FP9"});
  EXPECT_EQ(type.code, 2);
  EXPECT_THAT(type.err, HasSubstr("--weights"));
  const ProcessResult quantised = bench(kMixture, {"--weights", "MXFP4"});
  EXPECT_EQ(quantised.code, 2);
  EXPECT_THAT(quantised.err, HasSubstr("is quantised already"));
}

nlohmann::json json_with(const Arguments& flags) {
  Arguments arguments = {"run",    kMixture, "--prompt-ids", "3,4,5,6,7,8,9", "-n", "6",
                         "--temp", "0",      "--ignore-eos", "--json"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const ProcessResult result = run_dunlin(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  return result.json();
}

TEST(DisableFlag, OfTheFiveChangesWhatRunsAndNoToken) {
  const auto plain = json_with({});
  EXPECT_EQ(plain["backend"]["name"], "cpu");
  EXPECT_FALSE(plain["backend"]["kernels"].contains("kv_repeat"));
  const auto gqa = json_with({"--disable", "gqa"});
  EXPECT_EQ(gqa["ids"], plain["ids"]);
  EXPECT_EQ(gqa["backend"]["kernels"]["kv_repeat"], "copy_pages");
  const auto compiled = json_with({"--disable", "compiled"});
  EXPECT_EQ(compiled["ids"], plain["ids"]);
  EXPECT_EQ(compiled["backend"]["name"], "reference");
  EXPECT_EQ(compiled["backend"]["kernels"]["experts"], "experts_reference");
  EXPECT_EQ(json_with({"--disable", "kv-cache"})["ids"], plain["ids"]);
  EXPECT_EQ(json_with({"--disable", "all"})["ids"], plain["ids"]);
}

TEST(DisableFlag, OfPrecisionComputesInFloat32) {
  const auto wanted = json_with({"--precision", "f32"});
  EXPECT_EQ(json_with({"--disable", "precision"})["ids"], wanted["ids"]);
  EXPECT_EQ(json_with({"--disable", "all,precision"})["ids"], wanted["ids"]);
  const ProcessResult both = run_dunlin(
      {"run", kMixture, "--prompt-ids", "3", "--precision", "exact", "--disable", "precision"});
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("error: --disable precision computes in float32"));
}

}  // namespace
}  // namespace dunlin

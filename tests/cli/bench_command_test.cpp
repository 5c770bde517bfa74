// `dunlin bench model` as a process.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "planner/cpu_rates.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class BenchTest : public testing::Test {
 protected:
  static ProcessResult bench(std::vector<std::string> more) {
    more.insert(more.begin(), {"bench", "model", test_data("data/llama_plain/model.gguf")});
    return run_dunlin(more);
  }
};

TEST_F(BenchTest, JsonHasTheFieldsInTheirUnits) {
  const ProcessResult result = bench(
      {"-p", "8", "-n", "3", "-pg", "4,2", "-d", "0,5", "-t", "1,2", "-r", "2", "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_TRUE(tests.is_array()) << result.out;
  ASSERT_EQ(tests.size(), 12u);  // 2 threads x 2 depths x 3 tests
  for (const auto& test : tests) {
    const int64_t tokens = test["n_prompt"].get<int64_t>() + test["n_gen"].get<int64_t>();
    ASSERT_EQ(test["samples_ns"].size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(test["samples_ts"][i].get<double>() * test["samples_ns"][i].get<double>(),
                  1e9 * static_cast<double>(tokens), 1e3);
    }
    EXPECT_NEAR(test["avg_ts"].get<double>(),
                (test["samples_ts"][0].get<double>() + test["samples_ts"][1].get<double>()) / 2,
                1e-6 * test["avg_ts"].get<double>());
    EXPECT_GT(test["stream_gb_s"].get<double>(), 0.0);
    EXPECT_NEAR(test["bandwidth_fraction"].get<double>(),
                test["weights_gb_s"].get<double>() / test["stream_gb_s"].get<double>(), 1e-9);
    EXPECT_GT(test["peak_rss_bytes"].get<int64_t>(), 1 << 20);
    for (const char* name :
         {"n_batch", "stddev_ts", "avg_ns", "model_size", "model_type", "model_filename",
          "cpu_info", "isa", "kernels", "load_ms", "load_average", "backends", "test_time",
          "tflops", "peak_tflops", "peak_fraction"}) {
      EXPECT_TRUE(test.contains(name)) << name;
    }
  }
  EXPECT_EQ(tests[0]["n_threads"], 1);
  EXPECT_EQ(tests[11]["n_threads"], 2);
  EXPECT_EQ(tests[5]["n_depth"], 5);
  // Every weight but the looked-up embedding, read once in each of the three steps of tg3.
  const auto& tg = tests[1];
  const double streamed = tg["model_size"].get<double>() - 160 * 64 * 4;
  EXPECT_NEAR(tg["weights_gb_s"].get<double>(), streamed * 3 / tg["avg_ns"].get<double>(),
              0.01 * tg["weights_gb_s"].get<double>());
}

TEST_F(BenchTest, SaysHowManyLayersRanAndWhatWasLeftOut) {
  const std::vector<std::string> small = {"-p", "4", "-n", "0", "-r", "1", "-t", "1", "-o", "json"};
  const ProcessResult whole = bench(small);
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_GT(whole.json()[0]["n_layers"], 1);
  EXPECT_EQ(whole.json()[0]["disabled"], "");
  std::vector<std::string> less = small;
  less.insert(less.end(), {"--layers", "1", "--disable", "gqa,memory_reuse"});
  const ProcessResult part = bench(less);
  ASSERT_EQ(part.code, 0) << part.err;
  EXPECT_EQ(part.json()[0]["n_layers"], 1);
  EXPECT_EQ(part.json()[0]["disabled"], "gqa,memory_reuse");
}

// A token of a mixture reads the experts that it chooses, here 4 of 6.
TEST_F(BenchTest, OfAMixtureTheChosenExpertsAreRead) {
  const ProcessResult result =
      run_dunlin({"bench", "model", test_data("data/gpt_oss_mxfp4/model.gguf"), "-p", "0", "-n",
                  "3", "-r", "2", "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 1u);
  const auto& tg = tests[0];
  // In three layers, of each expert three matrices of 32 x 64 in MXFP4 and biases in F32.
  const double experts = 3 * 6 * (3 * 32 * 64 / 32 * 17 + (32 + 32 + 64) * 4);
  const double streamed = tg["model_size"].get<double>() - 160 * 64 * 2 - experts * 2 / 6;
  EXPECT_NEAR(tg["weights_gb_s"].get<double>(), streamed * 3 / tg["avg_ns"].get<double>(),
              0.01 * tg["weights_gb_s"].get<double>());
}

// 2 for each weight of a matrix and row (the logits' for the last row only), 4 for each query head
// dimension and position it sees.
TEST_F(BenchTest, OperationsAreThoseOfTheMatrices) {
  const TemporaryFolder cache;
  const ProcessResult result =
      run_dunlin({"bench", "model", test_data("data/llama_plain/model.gguf"), "-p", "8", "-n", "3",
                  "-d", "5", "-t", "1", "-r", "1", "-b", "6", "-o", "json"},
                 {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 2u);
  const auto config =
      run_dunlin({"inspect", test_data("data/llama_plain/model"), "--json"}).json()["config"];
  const double layers = config["num_hidden_layers"];
  const double hidden = config["hidden_size"];
  const double heads =
      config["num_attention_heads"].get<double>() * config["head_dim"].get<double>();
  const double kv = config["num_key_value_heads"].get<double>() * config["head_dim"].get<double>();
  const double matrices = layers * (hidden * (2 * heads + 2 * kv) +
                                    3 * hidden * config["intermediate_size"].get<double>());
  const double logits = hidden * config["vocab_size"].get<double>();
  const auto flops = [&](double rows, double logit_rows, double seen) {
    return 2 * (rows * matrices + logit_rows * logits) + 4 * layers * heads * seen;
  };
  // Rows 5..12 of the sequence see 6..13 positions, and three times the next row.
  const std::vector<double> wanted = {flops(8, 1, 76), flops(3, 3, 6 + 7 + 8)};
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(tests[i]["tflops"].get<double>() * tests[i]["avg_ns"].get<double>() * 1e3,
                wanted[i], 1e-3 * wanted[i]);
    EXPECT_EQ(tests[i]["n_ubatch"], 6);
    // Nothing was calibrated.
    EXPECT_TRUE(tests[i]["peak_tflops"].is_null());
    EXPECT_TRUE(tests[i]["peak_fraction"].is_null());
  }
}

TEST_F(BenchTest, ThePeakIsWhatWasCalibratedForTheseThreadsAndThisInstructionSet) {
  const TemporaryFolder cache;
  std::string name = cpu_features().model;
  std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  const std::string best = isa_name(cpu_features().best);
  const CpuRates rates{.cpu = cpu_features().model,
                       .threads = 2,
                       .isa = best,
                       .calibrated = true,
                       .stream = {{.bytes = 1e9, .bytes_per_second = 1e10}},
                       .formats = {{.format = "F32",
                                    .decode_fraction = 1,
                                    .generated_flops = 1e12,
                                    .prompt_flops = 2e12}},
                       .kv_fraction = 1,
                       .attention_flops = 1e12,
                       .step_seconds = 1e-6,
                       .element_seconds = 1e-10,
                       .prompt_score_seconds = 1e-9,
                       .generated_score_seconds = 1e-9};
  std::filesystem::create_directory(cache.file("calibration"));
  write_all(cache.file(fmt::format("calibration/{}-{}-2.json", name, best)), to_json(rates));
  const auto first = [&](const char* threads, const std::string& isa) {
    const ProcessResult result =
        run_dunlin({"bench", "model", test_data("data/llama_plain/model.gguf"), "-p", "8", "-n",
                    "0", "-t", threads, "-r", "1", "-o", "json"},
                   {.environment = {{"DUNLIN_CACHE", cache.path()}, {"DUNLIN_ISA", isa}}});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()[0];
  };
  const auto test = first("2", best);
  EXPECT_EQ(test["peak_tflops"], 2.0);
  EXPECT_NEAR(test["peak_fraction"].get<double>(), test["tflops"].get<double>() / 2, 1e-9);
  EXPECT_TRUE(first("1", best)["peak_tflops"].is_null());
  if (best != "scalar") {
    EXPECT_TRUE(first("2", "scalar")["peak_tflops"].is_null());
  }
  // What an earlier version kept meant something else: a note, and what is typical in its place.
  std::string older = to_json(rates);
  older.replace(older.find(": 2"), 3, ": 1");
  write_all(cache.file(fmt::format("calibration/{}-{}-2.json", name, best)), older);
  const ProcessResult plan =
      run_dunlin({"plan", test_data("data/llama_plain/model.gguf"), "-t", "2"},
                 {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  EXPECT_EQ(plan.code, 0) << plan.err;
  EXPECT_THAT(plan.err, HasSubstr("schema_version 1, and this reads 2"));
  EXPECT_THAT(plan.err, HasSubstr("it is not used"));
  EXPECT_THAT(plan.out, HasSubstr("--calibrate measures it"));
}

TEST_F(BenchTest, TheTableHasTheColumnsOfLlamaBench) {
  const ProcessResult result = bench({"-p", "8", "-n", "2", "-d", "4", "-r", "1", "-t", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out,
              StartsWith("| model                          |       size |     params | "
                         "backend    | threads |            test |                  t/s |\n"
                         "| ------------------------------ | ---------: | ---------: | "
                         "---------- | ------: | --------------: | -------------------: |\n"
                         "| llama "));
  EXPECT_THAT(result.out, HasSubstr(" | CPU        |       1 |        pp8 @ d4 | "));
  EXPECT_THAT(result.out, HasSubstr(" ± 0.00 |\n"));
  EXPECT_THAT(result.out, HasSubstr(" |        tg2 @ d4 | "));
}

TEST_F(BenchTest, OtherFormsHoldTheSame) {
  const std::vector<std::string> small = {"-p", "4", "-n", "2", "-r", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), small.begin(), small.end());
    return bench(more);
  };
  const auto lines = with({"-o", "jsonl"}).json_lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["n_gen"], 2);
  const auto object = with({"--json"}).json();
  EXPECT_EQ(object["schema_version"], 1);
  EXPECT_EQ(object["results"].size(), 2u);
  const ProcessResult csv = with({"-o", "csv", "-oe", "md"});
  EXPECT_THAT(csv.out, HasSubstr("\"n_prompt\",\"n_gen\""));
  EXPECT_EQ(std::ranges::count(csv.out, '\n'), 3);
  EXPECT_THAT(csv.err, StartsWith("| model "));
}

TEST_F(BenchTest, WrongListsAreUsageErrors) {
  for (const char* list : {"x", "1-", "5-3", "1,,2", "0-8*2", "1-8*1", "1-4000"})
    EXPECT_EQ(bench({"-p", list}).code, 2) << list;
  EXPECT_EQ(bench({"-pg", "3"}).code, 2);
  EXPECT_EQ(bench({"-o", "sql"}).code, 2);
  EXPECT_EQ(bench({"-p", "0", "-n", "0"}).code, 2);
  EXPECT_EQ(bench({"-p", "600"}).code, 2);  // more than the model's 512 positions
}

}  // namespace
}  // namespace dunlin

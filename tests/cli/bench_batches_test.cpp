// `dunlin bench forward`, `bench sweep`, and `bench model` on models that fill in masks, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

const std::string kCanvases = test_data("data/dream_plain/model");
const std::string kTokens = test_data("data/llama_plain/model.gguf");

ProcessResult bench(std::vector<std::string> words, const ProcessInput& input = {}) {
  words.insert(words.begin(), "bench");
  return run_dunlin(words, input);
}

void limit_address_space() {
  const rlimit limit = {rlim_t{1} << 30, rlim_t{1} << 30};
  ::setrlimit(RLIMIT_AS, &limit);
}

TEST(BenchForward, JsonHasAnObjectForEachBatch) {
  for (const std::string& model : {kCanvases, kTokens}) {
    const ProcessResult result =
        bench({"forward", model, "--batch", "2,1,4", "--seq-len", "24", "-r", "2", "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    EXPECT_EQ(json.value("schema_version", 0), 1);
    EXPECT_EQ(json["seq_len"], 24);
    EXPECT_EQ(json["logits"], model == kCanvases ? "all" : "last");
    EXPECT_TRUE(json["issues"].empty());
    for (const int batch : {1, 2, 4}) {
      const auto& row = json[fmt::format("batch_{}", batch)];
      const double seconds = row["avg_time_seconds"];
      EXPECT_GT(seconds, 0.0);
      EXPECT_GT(row["first_time_seconds"].get<double>(), 0.0);
      EXPECT_EQ(row["samples_seconds"].size(), 2u);
      EXPECT_NEAR(row["throughput_tokens_per_second"].get<double>() * seconds, batch * 24.0, 1e-6);
    }
    EXPECT_FALSE(json.contains("batch_8"));
  }
}

TEST(BenchForward, PrintsATable) {
  const ProcessResult result =
      bench({"forward", kTokens, "--batch", "1-2", "--seq-len", "8", "-r", "1", "--logits", "all"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::StartsWith("| batch |"));
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 4);
}

TEST(BenchForward, RefusesWhatCannotBe) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--batch", "0"},      {"--batch", "x"},      {"--batch", "2000"},   {"--seq-len", "0"},
      {"--seq-len", "1000"}, {"--logits", "first"}, {"--repetitions", "0"}};
  for (const auto& flags : wrong) {
    std::vector<std::string> words = {"forward", kTokens};
    words.insert(words.end(), flags.begin(), flags.end());
    EXPECT_EQ(bench(words).code, 2) << flags[0] << " " << flags[1];
  }
  EXPECT_EQ(bench({"forward", "/nowhere/model.gguf"}).code, 3);
}

// Whole rows of logits for 1024 sequences of 512 are 1.3 GB.
TEST(BenchForward, LeavesOutWhatMemoryDoesNotHold) {
  if (DUNLIN_SANITIZED) GTEST_SKIP() << "a sanitizer needs more address space itself";
  const TemporaryFolder folder;
  write_text_model(folder.path());
  const std::vector<std::string> words = {"forward", folder.path(), "--seq-len", "512",
                                          "-t",      "1",           "-r",        "1",
                                          "--json",  "--logits",    "all"};
  std::vector<std::string> both = words;
  both.insert(both.end(), {"--batch", "1,1024"});
  const ProcessResult result = bench(both, {.prepare = limit_address_space});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(result.json().contains("batch_1"));
  EXPECT_FALSE(result.json().contains("batch_1024"));
  EXPECT_THAT(result.err, HasSubstr("batch 1024 does not fit: "));
  std::vector<std::string> alone = words;
  alone.insert(alone.end(), {"--batch", "1024"});
  EXPECT_EQ(bench(alone, {.prepare = limit_address_space}).code, 4);
}

// ------------------------------------------------------------------------------------ sweep

const std::vector<std::string> kSweep = {"sweep", kCanvases, "--batch", "1,3", "-p", "4",
                                         "-n",    "8",       "--steps", "4",   "-r", "2"};

ProcessResult sweep(const std::vector<std::string>& more, const ProcessInput& input = {}) {
  std::vector<std::string> words = kSweep;
  words.insert(words.end(), more.begin(), more.end());
  return bench(words, input);
}

TEST(BenchSweep, JsonHasRowsAndTheOptimalBatch) {
  const ProcessResult result = sweep({"--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json.value("schema_version", 0), 1);
  EXPECT_EQ(json["method"], "entropy, 4 steps, no cache");
  ASSERT_EQ(json["results"].size(), 1u);
  const auto& side = json["results"][0];
  EXPECT_EQ(side["name"], "cpu auto");
  ASSERT_EQ(side["rows"].size(), 2u);
  double peak = 0;
  int best = 0;
  for (const auto& row : side["rows"]) {
    const int batch = row["batch"];
    EXPECT_EQ(row["tokens"], batch * 8);
    EXPECT_EQ(row["samples_seconds"].size(), 2u);
    EXPECT_DOUBLE_EQ(row["tokens_per_forward"].get<double>(), 2.0);
    const double rate = row["tokens_per_second"];
    EXPECT_NEAR(rate * row["avg_seconds"].get<double>(), batch * 8.0, 1e-6);
    if (rate > peak) best = batch;
    peak = std::max(peak, rate);
  }
  EXPECT_EQ(side["optimal_batch"], best);
  EXPECT_EQ(side["peak_tokens_per_second"], peak);
  EXPECT_NEAR(side["single_token_ms"].get<double>(),
              1e3 / side["rows"][0]["tokens_per_second"].get<double>(), 1e-9);
  EXPECT_GT(side["load_seconds"].get<double>(), 0.0);
  EXPECT_TRUE(json["speed_up"].empty());
}

TEST(BenchSweep, TokenAfterTokenWorksAlike) {
  const ProcessResult result = bench({"sweep", kTokens, "--batch", "1,2", "-p", "4", "-n", "6",
                                      "-r", "1", "--temp", "0.5", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json["method"], "");
  for (const auto& row : json["results"][0]["rows"]) {
    EXPECT_EQ(row["tokens"], row["batch"].get<int>() * 6);
    EXPECT_EQ(row["tokens_per_forward"], 1.0);
  }
}

TEST(BenchSweep, ComparesProfilesAndBackEnds) {
  for (const char* what : {"exact", "reference"}) {
    const ProcessResult result = sweep({"--compare", what, "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    ASSERT_EQ(json["results"].size(), 2u);
    ASSERT_EQ(json["speed_up"].size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(json["speed_up"][i]["ratio"].get<double>(),
                  json["results"][0]["rows"][i]["tokens_per_second"].get<double>() /
                      json["results"][1]["rows"][i]["tokens_per_second"].get<double>(),
                  1e-9);
    }
  }
}

TEST(BenchSweep, WritesAReportWithAChart) {
  const TemporaryFolder folder;
  const ProcessResult result = sweep({"--report", folder.file("out/sweep")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("cpu auto: optimal batch "));
  const std::string report = read_all(folder.file("out/sweep/report.md"));
  for (const char* part :
       {"# Throughput over the batch", "entropy, 4 steps", "first run s", "compile s",
        "single token ms", "tokens/forward", "optimal batch", "](throughput.svg)", "## Issues"}) {
    EXPECT_THAT(report, HasSubstr(part));
  }
  EXPECT_THAT(read_all(folder.file("out/sweep/throughput.svg")), HasSubstr("best: batch "));
  EXPECT_TRUE(std::filesystem::exists(folder.file("out/sweep/sweep.json")));
}

TEST(BenchSweep, AFileIsComparedAndASlowdownHasACodeOfItsOwn) {
  const TemporaryFolder folder;
  const std::string file = folder.file("before.json");
  auto before = sweep({"--json"}).json();
  const auto with_samples = [&](double seconds) {
    for (auto& row : before["results"][0]["rows"])
      row["samples_seconds"] = nlohmann::json::array({seconds});
    write_all(file, before.dump());
  };
  with_samples(1e4);  // so slow that nothing is slower
  const ProcessResult faster = sweep({"--compare", file, "--fail-if", "5", "--json"});
  EXPECT_EQ(faster.code, 0) << faster.err;
  EXPECT_EQ(faster.json()["results"][1]["name"], "before.json");
  with_samples(1e-9);
  const ProcessResult slower = sweep({"--compare", file, "--fail-if", "5", "--json"});
  EXPECT_EQ(slower.code, 6);
  EXPECT_THAT(slower.err, HasSubstr("% below"));
  EXPECT_EQ(slower.json()["results"].size(), 2u);
  EXPECT_EQ(sweep({"--compare", file}).code, 0);  // shown, but no failure
}

TEST(BenchSweep, RefusesWhatCannotBe) {
  EXPECT_EQ(sweep({"--fail-if", "5"}).code, 2);
  const ProcessResult missing = sweep({"--compare", "/nowhere/before.json"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("/nowhere/before.json"));
  EXPECT_EQ(sweep({"--steps", "0"}).code, 2);
  const ProcessResult flags = bench({"sweep", kTokens, "--steps", "4", "-p", "4", "-n", "4"});
  EXPECT_EQ(flags.code, 2);
  EXPECT_THAT(flags.err, HasSubstr("--steps is for diffusion models"));
  EXPECT_EQ(bench({"sweep", kCanvases, "-p", "500", "-n", "100"}).code, 2);  // 512 positions
}

// Logits of 256 masks of 1024 canvases are 640 MB, and their 524,288 rows take as much again.
TEST(BenchSweep, EndsWhereMemoryEnds) {
  if (DUNLIN_SANITIZED) GTEST_SKIP() << "a sanitizer needs more address space itself";
  const TemporaryFolder folder;
  write_text_diffusion_model(folder.path(), 3);
  const ProcessResult result = bench({"sweep", folder.path(), "--batch", "1,1024", "-p", "256",
                                      "-n", "256", "--steps", "2", "-t", "1", "-r", "1", "--json"},
                                     {.prepare = limit_address_space});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto side = result.json()["results"][0];
  ASSERT_EQ(side["rows"].size(), 1u);
  EXPECT_EQ(side["optimal_batch"], 1);
  ASSERT_EQ(side["issues"].size(), 1u);
  EXPECT_THAT(side["issues"][0].get<std::string>(), HasSubstr("batch 1024 does not fit: "));
  EXPECT_THAT(result.err, HasSubstr("batch 1024 does not fit: "));
}

// ------------------------------------------------------------------------------------ model

// 2 for each weight of a matrix and row, 4 for each query head dimension and position it sees; logits
// of every mask.
TEST(BenchModelOfCanvases, CountsPassesAndOperations) {
  const TemporaryFolder cache;
  const ProcessResult result = bench({"model", kCanvases, "-p", "16", "-n", "8", "-d", "0,4",
                                      "--steps", "4", "-t", "1", "-r", "2", "-o", "json"},
                                     {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 4u);
  const double matrices = 2 * (64 * (2 * 64 + 2 * 32) + 3 * 64 * 160);
  const auto flops = [&](double rows, double logit_rows, double length) {
    return 2 * (rows * matrices + logit_rows * 64 * 160) + 4 * 2 * 64 * rows * length;
  };
  // Steps of eight masks decide 1, 2, 2 and 3.
  const auto answer = [&](double length) {
    return flops(length, 8, length) + flops(length, 7, length) + flops(length, 5, length) +
           flops(length, 3, length);
  };
  const std::vector<double> wanted = {flops(16, 16, 16), answer(1 + 8), flops(16, 16, 20),
                                      answer(4 + 8)};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(tests[i]["tflops"].get<double>() * tests[i]["avg_ns"].get<double>() * 1e3,
                wanted[i], 1e-3 * wanted[i])
        << i;
    const bool is_answer = i % 2 == 1;
    EXPECT_EQ(tests[i]["forward_passes"], is_answer ? 4 : 1);
    if (is_answer) {
      EXPECT_EQ(tests[i]["tokens_per_forward"], 2.0);
    } else {
      EXPECT_TRUE(tests[i]["tokens_per_forward"].is_null());
    }
  }
}

// Two blocks of eight in four steps each: the first computes the canvas of 24, the others the block.
TEST(BenchModelOfCanvases, TimesThePassesOfAnswersByTheirRows) {
  const ProcessResult result = bench(
      {"model", kCanvases,        "-p", "4",  "-n", "16", "-d", "8",  "--steps", "8", "--dlm-cache",
       "dual",  "--block-length", "8",  "-t", "1",  "-r", "3",  "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 2u);
  EXPECT_TRUE(tests[0]["pass_times"].empty());  // a pass alone is the sample itself
  const auto& times = tests[1]["pass_times"];
  ASSERT_EQ(times.size(), 2u);
  EXPECT_EQ(times[0]["rows"], 24);
  EXPECT_EQ(times[0]["passes"], 3 * 2);
  EXPECT_EQ(times[1]["rows"], 8);
  EXPECT_EQ(times[1]["passes"], 3 * 6);
  EXPECT_EQ(tests[1]["forward_passes"], 8);
  int64_t sum = 0;
  for (const auto& each : times) {
    EXPECT_GT(each["avg_ns"].get<int64_t>(), 0);
    sum += each["passes"].get<int64_t>() * each["avg_ns"].get<int64_t>();
  }
  int64_t answers = 0;
  for (const auto& each : tests[1]["samples_ns"]) answers += each.get<int64_t>();
  EXPECT_LE(sum, answers);
  const auto tokens =
      bench({"model", kTokens, "-p", "4", "-n", "2", "-r", "1", "-o", "json"}).json();
  for (const auto& test : tokens) EXPECT_TRUE(test["pass_times"].empty());
}

TEST(BenchModelOfCanvases, TheTableShowsTokensPerForward) {
  const ProcessResult result =
      bench({"model", kCanvases, "-p", "8", "-n", "8", "--dlm-cache", "dual", "--block-length", "4",
             "--alg", "confidence_threshold", "--threshold", "0", "-r", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(" pp8 |"));
  // A block's first pass decides one token, its second all others that are no masks.
  EXPECT_THAT(result.out, testing::ContainsRegex("tg8, [12][.][0-9]+ t/fwd [|]"));
}

TEST(BenchModelOfCanvases, OtherModelsRefuseItsFlags) {
  const ProcessResult result =
      bench({"model", kTokens, "-p", "8", "-n", "0", "-r", "1", "--steps", "4"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--steps is for diffusion models"));
}

}  // namespace
}  // namespace dunlin

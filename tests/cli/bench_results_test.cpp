// What becomes of the results of `bench model`: fields about the machine, a comparison with an earlier
// run, and a profile, as a shell sees them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "process.h"
#include "processor_time.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"
#include "trace_events.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kTokenModel = test_data("data/llama_plain/model.gguf");
const std::string kCanvasModel = test_data("data/dream_plain/model");

ProcessResult bench_with(const std::string& model, std::vector<std::string> more) {
  more.insert(more.begin(), {"bench", "model", model, "-t", "1", "-r", "2"});
  return run_dunlin(more);
}

ProcessResult bench_with(std::vector<std::string> more) {
  more.insert(more.begin(), {"-p", "8", "-n", "2"});
  return bench_with(kTokenModel, std::move(more));
}

TEST(BenchMachine, OtherProcessesAreAFraction) {
  const ProcessResult result = bench_with({"-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const auto& test : result.json()) {
    ASSERT_TRUE(test.contains("other_cpu"));
    EXPECT_TRUE(test["programs"].is_null());
    ASSERT_EQ(test["other_cpu"].is_null(), !counts_processor_time());
    if (test["other_cpu"].is_null()) continue;
    EXPECT_GE(test["other_cpu"].get<double>(), 0.0);
    EXPECT_LE(test["other_cpu"].get<double>(), 1.0);
  }
}

TEST(BenchMachine, NothingIsCompiledWhileATestIsTimed) {
  if (DUNLIN_HAS_PJRT == 0) GTEST_SKIP() << "a build without PJRT";
  const ProcessResult result = bench_with({"--backend", "pjrt", "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto tests = result.json();
  ASSERT_EQ(tests.size(), 2u);
  // Loading compiles what makes the zeros of the cache.
  auto before = tests[0]["programs"]["compiled_before"].get<int64_t>();
  for (const auto& test : tests) {
    const auto& programs = test["programs"];
    EXPECT_EQ(programs["compiled_before"], before);
    before = programs["compiled_after"].get<int64_t>();
    EXPECT_GT(before, programs["compiled_before"].get<int64_t>());
    EXPECT_EQ(programs["compiled_while_timed"], 0);
    EXPECT_EQ(programs["loaded_while_timed"], 0);
  }
}

// Results of this build, with each repetition as fast as given.
class BenchCompare : public testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult first = bench_with({"--json"});
    ASSERT_EQ(first.code, 0) << first.err;
    earlier_ = first.json();
    ASSERT_TRUE(earlier_.is_object());
  }
  std::string write(double rate) {
    for (auto& each : earlier_["results"]) each["samples_ts"] = {rate, rate, rate};
    write_all(path_, earlier_.dump());
    return path_;
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("old.json");
  nlohmann::json earlier_;
};

TEST_F(BenchCompare, AFallIsExitCode6) {
  const std::string old = write(1e12);
  const ProcessResult fell = bench_with({"--compare", old, "--fail-if", "5%", "-o", "json"});
  EXPECT_EQ(fell.code, 6) << fell.err;
  EXPECT_THAT(fell.err, HasSubstr("error: --fail-if 5%: the speed of a test fell by more"));
  const auto tests = fell.json();
  ASSERT_EQ(tests.size(), 2u) << fell.out;
  for (const auto& test : tests) {
    EXPECT_EQ(test["compared"]["file"], old);
    EXPECT_EQ(test["compared"]["earlier_median_ts"], 1e12);
    EXPECT_EQ(test["compared"]["fell"], true);
    EXPECT_NEAR(test["compared"]["ratio"].get<double>() * 1e12,
                test["compared"]["median_ts"].get<double>(), 1.0);
  }
  // Without a limit it is a table, and no failure.
  const ProcessResult shown = bench_with({"--compare", old});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, StartsWith("| model "));
  EXPECT_THAT(shown.out, HasSubstr("Medians of tokens per second beside " + old));
  EXPECT_THAT(shown.out, HasSubstr("model.gguf        1  pp8 "));
}

TEST_F(BenchCompare, WhatIsFasterPasses) {
  const ProcessResult result =
      bench_with({"--compare", write(1e-6), "--fail-if", "0.05", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["results"][0]["compared"]["fell"], false);
  EXPECT_THAT(result.err, HasSubstr("Medians of tokens per second"));
}

TEST_F(BenchCompare, OtherTestsAreAnErrorOfTheFile) {
  const std::string old = write(1);
  const ProcessResult other = run_dunlin({"bench", "model", kTokenModel, "-t", "2", "-r", "1", "-p",
                                          "8", "-n", "2", "--compare", old, "--fail-if", "5%"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("the nearest differs in n_threads (\"1\" there, \"2\" here)"));
  const ProcessResult unlimited = bench_with({"-d", "4", "--compare", old});
  EXPECT_EQ(unlimited.code, 0);
  EXPECT_THAT(unlimited.err, HasSubstr("warning: " + old + ": none of its 2 results"));
}

TEST_F(BenchCompare, WrongFilesAndFractionsAreUsageErrors) {
  const std::string old = write(1);
  write_all(folder_.file("cut.json"), "[{\"schema_version\": 1");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--fail-if", "5%"}, "--fail-if needs --compare FILE"},
      {{"--compare", old, "--fail-if", "5"}, "\"5\" is not a fraction"},
      {{"--compare", old, "--fail-if", "0%"}, "\"0%\" is not a fraction"},
      {{"--compare", "/nowhere/old.json"}, "/nowhere/old.json: No such file or directory"},
      {{"--compare", folder_.file("cut.json")}, "cut.json: not valid JSON"},
      {{"--compare", kTokenModel}, "not valid JSON"}};
  for (const auto& [flags, message] : cases) {
    const ProcessResult result = bench_with(flags);
    EXPECT_EQ(result.code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_THAT(result.out, Not(HasSubstr(" ± "))) << "nothing is measured before";
  }
}

class BenchProfile : public testing::Test {
 protected:
  nlohmann::json trace() const {
    return nlohmann::json::parse(read_all(path_), nullptr, /*allow_exceptions=*/false);
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("trace.json");
};

TEST_F(BenchProfile, HasEveryStepOfEveryTest) {
  const TemporaryFolder cache;  // nothing was calibrated
  const ProcessResult result = run_dunlin({"bench", "model", kTokenModel, "-t", "2", "-r", "1",
                                           "-p", "8", "-n", "3", "-b", "6", "--profile", path_},
                                          {.environment = {{"DUNLIN_CACHE", cache.path()}}});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("| model "));
  EXPECT_THAT(result.out, HasSubstr("of roof"));
  // Six are linear, one of them with the embedding; the others angles, attention and the choice of rows
  // for the head.
  EXPECT_THAT(result.out, HasSubstr("9 of 9 kinds of steps"));
  EXPECT_THAT(result.out, HasSubstr("\nlinear"));
  EXPECT_THAT(result.out, HasSubstr("No peak was calibrated"));

  const auto json = trace();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(misnested(json), "");
  const auto tests = complete_events(json, "test");
  ASSERT_EQ(tests.size(), 2u);
  EXPECT_EQ(tests[0]["name"], "pp8");
  EXPECT_EQ(tests[0]["args"]["runs"], 2);  // chunks of 6 and 2
  EXPECT_EQ(tests[1]["name"], "tg3");
  EXPECT_EQ(tests[1]["args"]["runs"], 3);
  EXPECT_EQ(complete_events(json, "run").size(), 5u);
  const auto config =
      run_dunlin({"inspect", test_data("data/llama_plain/model"), "--json"}).json()["config"];
  const auto layers = config["num_hidden_layers"].get<size_t>();
  size_t attentions = 0;
  for (const auto& event : complete_events(json, "attention")) {
    EXPECT_THAT(event["name"].get<std::string>(), StartsWith("attention+rope_attention layers."));
    if (event["tid"] == 0) ++attentions;
  }
  EXPECT_EQ(attentions, 5 * layers);
  size_t linears = 0;
  for (const auto& event : complete_events(json, "linear")) {
    const auto& args = event["args"];
    if (event["tid"] != 0 || args["flops"] == 0) continue;
    ++linears;
    EXPECT_GT(args["bytes"].get<double>(), 0.0);
    EXPECT_GT(args["roof_fraction"].get<double>(), 0.0);
    EXPECT_EQ(args["roof"], "memory");
    EXPECT_THAT(args["kernel"].get<std::string>(), StartsWith("linear_"));
    EXPECT_THAT(args["weights"].get<std::string>(), HasSubstr(".weight"));
  }
  // The head has no rows in the first chunk of the prompt.
  EXPECT_EQ(linears, 5 * 4 * layers + 4);
}

TEST_F(BenchProfile, LeavesJsonToStdout) {
  const ProcessResult result = bench_with({"--json", "--profile", path_});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["results"].size(), 2u);
  EXPECT_THAT(result.err, HasSubstr("of roof"));
  EXPECT_THAT(result.err, HasSubstr("https://ui.perfetto.dev"));
}

TEST_F(BenchProfile, OfAModelThatFillsInMasks) {
  const ProcessResult result =
      bench_with(kCanvasModel, {"-p", "8", "-n", "4", "-d", "4", "--profile", path_});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = trace();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(misnested(json), "");
  const auto tests = complete_events(json, "test");
  ASSERT_EQ(tests.size(), 2u);
  EXPECT_EQ(tests[0]["name"], "pp8 @ d4");
  EXPECT_EQ(tests[0]["args"]["runs"], 1);
  EXPECT_EQ(tests[1]["name"], "tg4 @ d4");
  // Of four steps the first decides nothing, and needs no pass (docs/diffusion.md).
  EXPECT_EQ(tests[1]["args"]["runs"], 3);
}

TEST_F(BenchProfile, OtherBackEndsRefuseItBeforeAnythingIsMeasured) {
  for (const std::vector<std::string>& back_end :
       {std::vector<std::string>{"--backend", "reference"}, {"--disable", "compiled"}}) {
    std::vector<std::string> flags = {"--profile", path_};
    flags.insert(flags.end(), back_end.begin(), back_end.end());
    const ProcessResult result = bench_with(flags);
    EXPECT_EQ(result.code, 2) << back_end[1];
    EXPECT_THAT(result.err, HasSubstr("error: --profile: only the back end cpu tells the steps"));
    EXPECT_THAT(result.out, Not(HasSubstr(" ± ")));
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  }
  EXPECT_EQ(bench_with({"--profile", "/nowhere/trace.json"}).code, 1);
}

}  // namespace
}  // namespace dunlin

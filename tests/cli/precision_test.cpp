// --precision fast, in the commands that load, prepare and plan a model. Other profiles are in the tests
// of what they are used for.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;
using FastWords = std::vector<std::string>;

// Both in BF16, with a head of its own and with a tied one.
const std::string kOwnHead = test_data("data/llama_heads_9_3/model");
const std::string kTiedHead = test_data("data/llama_tied_bias/model");

nlohmann::json run_fast(const std::string& model, const FastWords& more) {
  FastWords words = {
      "run",          model,    "--prompt-ids", "3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19",
      "-n",           "24",     "--temp",       "0",
      "--ignore-eos", "--json", "--precision",  "fast"};
  words.insert(words.end(), more.begin(), more.end());
  const ProcessResult result = run_dunlin(words);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("precision fast"));
  return result.json();
}

// Names of the kernels that begin so.
std::set<std::string> kernels_of(const nlohmann::json& answer, const std::string& beginning) {
  std::set<std::string> names;
  for (const auto& kernel : answer["backend"]["kernels"]) {
    const auto name = kernel.get<std::string>();
    if (name.starts_with(beginning)) names.insert(name);
  }
  return names;
}

std::set<std::string> linear_kernels(const nlohmann::json& answer) {
  return kernels_of(answer, "linear_");
}

TEST(FastPrecision, IdsAreThoseOfTheReferenceForAnyThreadsAndChunks) {
  for (const std::string& model : {kOwnHead, kTiedHead, test_data("data/gpt_oss_mxfp4/model"),
                                   test_data("data/qwen2_heads_14_2/model")}) {
    const auto wanted = run_fast(model, {"--backend", "reference"})["ids"];
    ASSERT_EQ(wanted.size(), 24u);
    for (const char* threads : {"1", "2", "4"})
      EXPECT_EQ(run_fast(model, {"-t", threads})["ids"], wanted) << model << " -t " << threads;
    EXPECT_EQ(run_fast(model, {"-ub", "7"})["ids"], wanted) << model;
  }
}

TEST(FastPrecision, MultipliesByWideWeightsButKeepsATiedEmbedding) {
  EXPECT_THAT(linear_kernels(run_fast(kOwnHead, {})),
              testing::AllOf(testing::Not(testing::IsEmpty()),
                             testing::Each(StartsWith("linear_int8wide_wide_"))));
  const auto tied = linear_kernels(run_fast(kTiedHead, {}));
  EXPECT_THAT(tied, Contains(StartsWith("linear_int8wide_wide_")));
  EXPECT_THAT(tied, Contains(StartsWith("linear_bf16_bf16_")));
}

TEST(FastPrecision, GoesWithACacheInInt8) {
  const FastWords types = {"-ctk", "int8", "-ctv", "int8"};
  const auto answer = run_fast(kOwnHead, types);
  FastWords words = types;
  words.insert(words.end(), {"--backend", "reference"});
  EXPECT_EQ(answer["ids"], run_fast(kOwnHead, words)["ids"]);
  EXPECT_FALSE(kernels_of(answer, "attention_int8_").empty());
}

TEST(FastPrecision, PreparedWeightsAreOfTheProfile) {
  const TemporaryFolder folder;
  for (const char* profile : {"fast", "auto"}) {
    const ProcessResult made = run_dunlin({"convert", kTiedHead, folder.file(profile), "--to",
                                           "prepared", "--precision", profile, "-q"});
    ASSERT_EQ(made.code, 0) << made.err;
  }
  EXPECT_EQ(run_fast(folder.file("fast"), {})["ids"], run_fast(kTiedHead, {})["ids"]);
  for (const auto& [prepared, profile] : {std::pair("fast", "auto"), std::pair("auto", "fast")}) {
    const ProcessResult other = run_dunlin({"run", folder.file(prepared), "--prompt-ids", "3",
                                            "--ignore-eos", "--precision", profile});
    EXPECT_EQ(other.code, 3) << other.err;
    EXPECT_THAT(other.err,
                HasSubstr(fmt::format("it was not prepared for --precision {} (", profile)));
  }
}

TEST(FastPrecision, PlanCountsAByteForAWeight) {
  const auto plan = [](const std::string& profile) {
    const ProcessResult result =
        run_dunlin({"plan", kOwnHead, "-c", "64", "--precision", profile, "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json();
  };
  const auto fast = plan("fast");
  EXPECT_EQ(fast["weights"], "I8 (8), BF16 (1)");
  EXPECT_LT(fast["per_device"]["weights_bytes"].get<int64_t>(),
            plan("auto")["per_device"]["weights_bytes"].get<int64_t>());
}

TEST(FastPrecision, DoesNotGoWithoutPrecision) {
  const ProcessResult result = run_dunlin(
      {"run", kOwnHead, "--prompt-ids", "3", "--precision", "fast", "--disable", "precision"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--precision fast does not: leave one out"));
}

}  // namespace
}  // namespace dunlin

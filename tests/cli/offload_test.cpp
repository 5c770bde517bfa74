// `--offload auto` as processes: the same answers whatever fits into memory, and what is said of it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using Arguments = std::vector<std::string>;

// A golden model, prepared.
class Offload : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const ProcessResult made =
        run_dunlin({"convert", model(), prepared_, "--to", "prepared", "--json"});
    ASSERT_EQ(made.code, 0) << made.err;
    bytes_ = made.json()["output_bytes"].get<int64_t>();
    ASSERT_GT(bytes_, 0);
  }

  static std::string model() { return test_data(fmt::format("data/{}/model", GetParam())); }
  static bool has_experts() { return std::string(GetParam()).starts_with("gpt_oss"); }

  static ProcessResult with_budget(int64_t bytes, const Arguments& arguments) {
    return run_dunlin(arguments,
                      {.environment = {{"DUNLIN_MEMORY_BUDGET", std::to_string(bytes)}}});
  }
  static Arguments run(const std::string& model, const Arguments& more) {
    Arguments arguments = {"run",    model, "--prompt-ids", "3,4,5,6,7", "-n", "16",
                           "--temp", "0",   "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  TemporaryFolder folder_;
  std::string prepared_ = folder_.file("prepared");
  int64_t bytes_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Models, Offload, testing::Values("gpt_oss_mxfp4", "llama_plain"),
                         [](const auto& info) { return info.param; });

TEST_P(Offload, AnswersTheSameWithHalfOfTheWeights) {
  const ProcessResult whole = run_dunlin(run(model(), {"--json"}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_FALSE(whole.json()["backend"].contains("offload"));
  for (const int64_t budget : {int64_t{0}, bytes_ / 2, 2 * bytes_}) {
    const ProcessResult result =
        with_budget(budget, run(prepared_, {"--offload", "auto", "--json"}));
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["ids"], whole.json()["ids"]) << budget;
    const auto offload = result.json()["backend"]["offload"];
    EXPECT_EQ(offload["budget_bytes"], budget);
    EXPECT_EQ(offload["expert_hit_rate"].is_number(), has_experts());
    if (budget == 0) {
      EXPECT_GT(offload["streamed_bytes"], 0);
    } else if (budget > bytes_) {
      EXPECT_EQ(offload["streamed_bytes"], 0);
    }
    EXPECT_TRUE(offload["read_bytes"].is_number());
    EXPECT_TRUE(offload["locked"].is_boolean());
  }
}

// Without the variable what the system has is the budget.
TEST_P(Offload, TakesTheMemoryThereIs) {
  const ProcessResult result = run_dunlin(run(prepared_, {"--offload", "auto", "--json"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_GT(result.json()["backend"]["offload"]["budget_bytes"], bytes_);
}

TEST_P(Offload, TellsWhatItDidWhenAsked) {
  const ProcessResult result = with_budget(bytes_ / 2, run(prepared_, {"--offload", "auto", "-v"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("offload  budget of "));
  EXPECT_THAT(result.err, HasSubstr(" are read in every step\n"));
  EXPECT_THAT(result.err, HasSubstr(" page faults\n"));
  if (has_experts()) {
    EXPECT_THAT(result.err, HasSubstr("experts  "));
  } else {
    EXPECT_THAT(result.err, Not(HasSubstr("experts  ")));
  }
  const ProcessResult silent = with_budget(bytes_ / 2, run(prepared_, {"--offload", "auto"}));
  EXPECT_THAT(silent.err, Not(HasSubstr("offload  ")));
  const ProcessResult without = run_dunlin(run(prepared_, {"-v"}));
  EXPECT_THAT(without.err, Not(HasSubstr("offload  ")));
}

TEST_P(Offload, BenchModelHasTheCountersOfEachTest) {
  const Arguments bench = {"bench", "model", prepared_, "-p", "8", "-n",
                           "4",     "-r",    "2",       "-t", "1", "--json"};
  Arguments offloaded = bench;
  for (const char* word : {"--offload", "auto"}) offloaded.emplace_back(word);
  const ProcessResult result = with_budget(bytes_ / 2, offloaded);
  ASSERT_EQ(result.code, 0) << result.err;
  const auto results = result.json()["results"];
  ASSERT_EQ(results.size(), 2u);
  for (const auto& test : results) {
    const auto& offload = test["offload"];
    ASSERT_TRUE(offload.is_object());
    EXPECT_EQ(offload["budget_bytes"], bytes_ / 2);
    if (!has_experts()) {
      EXPECT_TRUE(offload["expert_hit_rate"].is_null());
      continue;
    }
    EXPECT_GT(offload["expert_uses"], 0);
    EXPECT_GE(offload["expert_hit_rate"], 0.0);
    EXPECT_LE(offload["expert_hit_rate"], 1.0);
  }
  const ProcessResult plain = run_dunlin(bench);
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_TRUE(plain.json()["results"][0]["offload"].is_null());
}

TEST_P(Offload, VerifiesAgainstTheGoldenValues) {
  const std::string exact = folder_.file("exact");
  const ProcessResult made =
      run_dunlin({"convert", model(), exact, "--to", "prepared", "--precision", "f32", "-q"});
  ASSERT_EQ(made.code, 0) << made.err;
  const ProcessResult result = with_budget(
      0, {"verify", exact, "--ref",
          test_data(fmt::format("data/{}/golden.safetensors", GetParam())), "--offload", "auto"});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
}

// Any model: the first run packs it into the cache, the next one finds it there.
TEST_P(Offload, KeepsWhatIsNotPreparedInTheCache) {
  const ProcessResult whole = run_dunlin(run(model(), {"--json"}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const ProcessInput input{.environment = {{"DUNLIN_MEMORY_BUDGET", std::to_string(bytes_ / 2)},
                                           {"DUNLIN_PACK_CACHE", folder_.file("packed")}}};
  for (const char* what : {"cache    kept in ", "cache    from "}) {
    const ProcessResult result =
        run_dunlin(run(model(), {"--offload", "auto", "--json", "-v"}), input);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr(what + folder_.file("packed")));
    EXPECT_EQ(result.json()["ids"], whole.json()["ids"]);
    EXPECT_EQ(result.json()["backend"]["offload"]["budget_bytes"], bytes_ / 2);
  }
}

TEST(OffloadRefusals, NameWhatIsMissing) {
  const std::string model = test_data("data/llama_plain/model");
  const Arguments run = {"run", model, "--prompt-ids", "1", "-n", "1", "--offload", "auto"};
  Arguments uncached = run;
  uncached.emplace_back("--no-pack-cache");
  const ProcessResult unprepared = run_dunlin(uncached);
  EXPECT_EQ(unprepared.code, 2);
  EXPECT_THAT(unprepared.err,
              HasSubstr(fmt::format("`dunlin convert {} OUT --to prepared`", model)));
  Arguments copied = run;
  for (const char* word : {"--load-mode", "copy"}) copied.emplace_back(word);
  const ProcessResult copy = run_dunlin(copied);
  EXPECT_EQ(copy.code, 2);
  EXPECT_THAT(copy.err, HasSubstr("--offload auto maps the weights and --load-mode copy does not"));
  Arguments reference = run;
  for (const char* word : {"--backend", "reference"}) reference.emplace_back(word);
  const ProcessResult other = run_dunlin(reference);
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--offload needs the back end cpu, and this is reference"));
  const ProcessResult word = run_dunlin({"run", model, "--prompt-ids", "1", "--offload", "disk"});
  EXPECT_EQ(word.code, 2);
  EXPECT_THAT(word.err, HasSubstr("--offload"));
}

}  // namespace
}  // namespace dunlin

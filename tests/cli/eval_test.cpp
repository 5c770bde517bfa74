// `dunlin eval` as a process.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("Line {} says hello to the world.\n", i);
  return text;
}

class EvalCommand : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(folder_.path());
    write_all(text_, long_text());
  }

  ProcessResult eval(std::vector<std::string> more, const ProcessInput& input = {}) const {
    more.insert(more.begin(), {"eval", folder_.path(), text_});
    return run_dunlin(more, input);
  }

  TemporaryFolder folder_;
  TemporaryFolder other_;
  std::string text_ = other_.file("text.txt");
};

TEST_F(EvalCommand, JsonHasTheFieldsThatChecksRead) {
  const ProcessResult result = eval({"-c", "64", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  ASSERT_TRUE(json.is_object()) << result.out;
  EXPECT_THAT(result.out, testing::StartsWith("{\"schema_version\":1,"));
  EXPECT_EQ(json["window"], 64);
  EXPECT_EQ(json["stride"], 64);
  EXPECT_EQ(json["tokens"], json["windows"].get<int64_t>() * 31);
  EXPECT_EQ(json["windows"], json["text_tokens"].get<int64_t>() / 64);
  // Random weights know nothing: about as bad as 608 equally likely tokens.
  EXPECT_GT(json["perplexity"].get<double>(), 200.0);
  EXPECT_GT(json["perplexity_error"].get<double>(), 0.0);
  for (const char* name : {"kl_mean", "kl_p99", "top1_agreement"})
    EXPECT_TRUE(json.contains(name) && json[name].is_null()) << name;
}

TEST_F(EvalCommand, StrideScoresEveryTokenBehindTheFirstWindow) {
  const auto json = eval({"--window", "64", "--stride", "16", "--json", "-q"}).json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["stride"], 16);
  const int64_t windows = (json["text_tokens"].get<int64_t>() - 64) / 16 + 1;
  EXPECT_EQ(json["windows"], windows);
  EXPECT_EQ(json["tokens"], windows * 16);
}

TEST_F(EvalCommand, AReferenceGivesDivergenceAndAgreement) {
  const auto same = eval({"-c", "64", "--ref", folder_.path(), "--json", "-q"}).json();
  ASSERT_TRUE(same.is_object());
  EXPECT_EQ(same["kl_mean"], 0.0);
  EXPECT_EQ(same["top1_agreement"], 1.0);
  EXPECT_EQ(same["ref_perplexity"], same["perplexity"]);
  // A truncated model is another one.
  const auto truncated = eval({"-c", "64", "--layers", "1", "--json", "-q"}).json();
  EXPECT_NE(truncated["perplexity"], same["perplexity"]);
  const ProcessResult text = eval({"-c", "64", "--ref", folder_.path(), "--chunks", "2"});
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, HasSubstr("perplexity  "));
  EXPECT_THAT(text.out, HasSubstr("each of 2 windows of 64"));
  EXPECT_THAT(text.out, HasSubstr("100.00 %"));
}

TEST_F(EvalCommand, TheTextMayComeFromStdin) {
  const auto from_file = eval({"-c", "64", "--json", "-q"}).json();
  const auto from_stdin =
      run_dunlin({"eval", folder_.path(), "-", "-c", "64", "--json", "-q"}, {.text = long_text()})
          .json();
  EXPECT_EQ(from_stdin["perplexity"], from_file["perplexity"]);
}

TEST_F(EvalCommand, TheResultDoesNotDependOnThreadsStepsOrOptimizations) {
  const auto wanted = eval({"-c", "64", "--json", "-q"}).json();
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"-t", "1"},
                                                {"-t", "3", "-ub", "7"},
                                                {"-ub", "1000"},
                                                {"--disable", "all"},
                                                {"--disable", "simd_linear_bf16,gated_linears"}}) {
    std::vector<std::string> arguments = {"-c", "64", "--json", "-q"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    EXPECT_EQ(eval(arguments).json()["perplexity"], wanted["perplexity"])
        << fmt::format("{}", fmt::join(flags, " "));
  }
}

TEST_F(EvalCommand, BadInputIsNamed) {
  const std::string empty = other_.file("empty.txt");
  const std::string line_feed = other_.file("line_feed.txt");
  const std::string brief = other_.file("brief.txt");
  write_all(empty, "");
  write_all(line_feed, "\n");
  write_all(brief, "Hello world");
  const std::string model = folder_.path();
  const std::string no_tokenizer = test_data("data/llama_plain/model");
  const struct {
    std::vector<std::string> arguments;
    int code;
    std::string message;
  } cases[] = {
      {{model, empty}, 2, "empty.txt: there is no text in it"},
      {{model, "-"}, 2, "stdin: there is no text in it"},
      {{model, line_feed}, 2, "line_feed.txt: the text has 0 tokens"},
      {{model, brief}, 2, "fewer than one window of 512; a longer text or a smaller --window"},
      {{model, other_.file("missing.txt")}, 2, "missing.txt"},
      {{model, other_.path()}, 2, other_.path()},
      {{model}, 2, "file"},
      {{no_tokenizer, text_}, 3, "the text needs a tokenizer"},
      {{other_.file("no_model"), text_}, 3, "no_model"},
      {{model, text_, "-c", "64", "--ref", no_tokenizer}, 2, "another vocabulary: 160 logits"},
      {{model, text_, "-c", "64", "--ref", other_.file("no_ref")}, 3, "no_ref"},
      {{model, text_, "-c", "64", "--stride", "65"}, 2, "stride of 65 is outside 1..64"},
      {{model, text_, "-c", "64", "--window", "32"}, 2, "--window 32 and --ctx-size 64"},
      {{model, text_, "--window", "513"}, 2, "513"},  // trained on 512
      {{model, text_, "--window", "2"}, 2, "--window"},
      {{model, text_, "--disable", "gated_linear"}, 2, "did you mean gated_linears?"},
      {{model, text_, "--until", "nonfinite"}, 2, "--until requires --watch"},
      {{model, text_, "-c", "64", "--watch", "*", "--until", "much"}, 2, "--until: \"much\""},
      {{model, text_, "-c", "64", "--watch", "layers.7.*"}, 2, "\"layers.7.*\""},
  };
  for (const auto& [arguments, code, message] : cases) {
    std::vector<std::string> all = arguments;
    all.insert(all.begin(), "eval");
    const ProcessResult result = run_dunlin(all);
    EXPECT_EQ(result.code, code) << fmt::format("{}", fmt::join(all, " ")) << '\n' << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(EvalCommand, WatchStopsAtTheFirstHit) {
  const ProcessResult watched =
      eval({"-c", "64", "--chunks", "2", "-ub", "63", "--watch", "layers.0.attend.*", "--json"});
  ASSERT_EQ(watched.code, 0) << watched.err;
  EXPECT_TRUE(watched.json().is_object());
  EXPECT_THAT(watched.err, HasSubstr("step 2, 63 rows"));
  EXPECT_THAT(watched.err, HasSubstr("layers.0.attend.q_proj"));
  EXPECT_EQ(watched.json()["perplexity"],
            eval({"-c", "64", "--chunks", "2", "--json"}).json()["perplexity"]);
  const ProcessResult hit = eval({"-c", "64", "--watch", "layers.*", "--until", "absmax>0", "-q"});
  EXPECT_EQ(hit.code, 1);
  EXPECT_EQ(hit.out, "");
  EXPECT_THAT(hit.err, testing::StartsWith("error: layers.0.rms_norm (rms_norm) met absmax>0"));
  EXPECT_THAT(hit.err, testing::ContainsRegex("recorded at src/models/llama.cpp:[0-9]+\n"));
}

}  // namespace
}  // namespace dunlin

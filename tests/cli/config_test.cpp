// Configuration files, their place among the other sources of values, and --print-config.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Config : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_.file("dunlin"));
    file_ = folder_.file("dunlin/config.toml");
  }

  // With the file as the user's own.
  ProcessResult run(const std::vector<std::string>& arguments,
                    std::map<std::string, std::string> environment = {}) const {
    environment.emplace("XDG_CONFIG_HOME", folder_.path());
    return run_dunlin(arguments, {.environment = std::move(environment)});
  }
  std::vector<std::string> three_tokens() const {
    return {"run", model_, "--prompt-ids", "3", "--ignore-eos", "--json", "-q"};
  }
  static size_t answer_tokens(const ProcessResult& result) {
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()["ids"].size();
  }

  TemporaryFolder folder_;
  std::string file_;
  const std::string model_ = test_data("data/llama_plain/model");
};

TEST_F(Config, FlagBeatsVariableBeatsFileBeatsModelBeatsBuiltIn) {
  write_all(file_, "max-tokens = 5\n");
  const std::map<std::string, std::string> variable = {{"DUNLIN_ARG_MAX_TOKENS", "4"}};
  std::vector<std::string> with_flag = three_tokens();
  with_flag.insert(with_flag.end(), {"-n", "3"});
  EXPECT_EQ(answer_tokens(run(with_flag, variable)), 3u);
  EXPECT_EQ(answer_tokens(run(three_tokens(), variable)), 4u);
  EXPECT_EQ(answer_tokens(run(three_tokens())), 5u);

  write_text_model(folder_.path());
  write_all(folder_.file("generation_config.json"), R"({"top_k": 7, "temperature": 0.5})");
  write_all(file_, "temperature = 0.25\n");
  const std::string printed =
      run({"run", folder_.path(), "-n", "3", "--print-config"}, {{"DUNLIN_ARG_MIN_P", "0.1"}}).out;
  EXPECT_THAT(printed, testing::ContainsRegex("max-tokens = 3 +# command line\n"));
  EXPECT_THAT(printed, testing::ContainsRegex("min-p = 0.1 +# DUNLIN_ARG_MIN_P\n"));
  EXPECT_THAT(printed,
              testing::ContainsRegex("temp = 0.25 +# .*dunlin/config.toml:1: temperature\n"));
  EXPECT_THAT(printed, testing::ContainsRegex("top-k = 7 +# the model's configuration\n"));
  EXPECT_THAT(printed, testing::ContainsRegex("top-p = 0.95 +# built-in\n"));
  EXPECT_THAT(printed, HasSubstr("# seed is not set\n"));
}

TEST_F(Config, ASectionIsForOneCommand) {
  write_all(file_,
            "max_tokens = 5\n[run]\nmax-tokens = 2\n[chat]\nmax-tokens = 9\n"
            "[bench.model]\nrepetitions = 7\n");
  EXPECT_EQ(answer_tokens(run(three_tokens())), 2u);
  EXPECT_THAT(run({"chat", "--print-config"}).out, HasSubstr("max-tokens = 9 "));
  EXPECT_THAT(run({"bench", "model", "--print-config"}).out, HasSubstr("repetitions = 7 "));
  EXPECT_THAT(run({"verify", "--print-config"}).out, Not(HasSubstr("max-tokens")));
}

TEST_F(Config, ListsSwitchesAndTheModelMayBeSet) {
  write_all(file_, fmt::format("model = '{}'\nstop = [\"a\", \"b\\n\"]\njson = true\nquiet = true\n"
                               "ignore-eos = true\nmax-tokens = 2\nlogit-bias = '3+1'\n",
                               model_));
  const ProcessResult result = run({"run", "--prompt-ids", "3"});
  EXPECT_EQ(result.code, 2);  // stop strings need a tokenizer
  EXPECT_THAT(result.err, HasSubstr("stop strings"));
  EXPECT_THAT(run({"run", "--print-config"}).out, HasSubstr("stop = [\"a\", \"b\\n\"] "));
  write_all(file_, fmt::format("model = '{}'\njson = true\nquiet = true\nmax-tokens = 2\n"
                               "ignore-eos = true\n",
                               model_));
  const ProcessResult good = run({"run", "--prompt-ids", "3"});
  EXPECT_EQ(answer_tokens(good), 2u);
  EXPECT_EQ(good.err, "");
}

TEST_F(Config, WhatIsPrintedIsAConfiguration) {
  write_all(file_,
            "temp = 0.25\nsystem-prompt = \"quote \\\" and \\\\ and\\nline\"\nstop = ['x']\n");
  const ProcessResult first = run({"chat", "--print-config"});
  ASSERT_EQ(first.code, 0) << first.err;
  write_all(folder_.file("again.toml"), first.out);
  const ProcessResult second =
      run({"chat", "--print-config", "--config", folder_.file("again.toml")});
  ASSERT_EQ(second.code, 0) << second.err;
  const auto without_origins = [](const std::string& text) {
    std::string values;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      values += line.substr(0, line.find("  # ")) + '\n';
    return values;
  };
  std::string values = without_origins(first.out);
  for (size_t end = values.find(" \n"); end != std::string::npos; end = values.find(" \n"))
    values.erase(end, 1);
  std::string again = without_origins(second.out);
  for (size_t end = again.find(" \n"); end != std::string::npos; end = again.find(" \n"))
    again.erase(end, 1);
  EXPECT_EQ(again, values);
}

TEST_F(Config, LooksInsideAndEvaluatesAsWritten) {
  write_all(file_,
            "disable = ['rope_attention', 'simd_rms_norm']\nuntil = 'max>-1e9'\n"
            "[eval]\nwindow = 64\nchunks = 2\n");
  // Without --watch there is nothing for the condition.
  const ProcessResult plain = run(three_tokens());
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_EQ(plain.json()["backend"]["kernels"]["rms_norm"], "rms_norm_f32_scalar");
  std::vector<std::string> watched = three_tokens();
  watched.insert(watched.end(), {"--watch", "embed"});
  EXPECT_THAT(run(watched).err, HasSubstr("embed (embed) met max>-1e9 in step 1"));
  const ProcessResult printed = run({"eval", "--print-config"});
  EXPECT_THAT(printed.out, testing::ContainsRegex("window = 64 +# .*config.toml:4: window\n"));
  EXPECT_THAT(printed.out, HasSubstr("disable = [\"rope_attention\", \"simd_rms_norm\"] "));
  EXPECT_THAT(printed.out, HasSubstr("# stride is not set\n"));
  write_all(file_, printed.out);
  EXPECT_EQ(run({"eval", "--print-config"}).code, 0);
}

TEST_F(Config, CommandsThatWriteOrFetchAModelReadItToo) {
  // The first is for run and its like: a GGUF file is packed for no precision.
  write_all(file_,
            "precision = 'f32'\n[convert]\nouttype = 'f16'\n[quantize]\nthreads = 3\npure = true\n"
            "[pull]\nrevision = 'v2'\ntoken = 'hf_secret'\n");
  const ProcessResult half = run({"convert", model_, folder_.file("half.gguf"), "--json", "-q"});
  ASSERT_EQ(half.code, 0) << half.err;
  EXPECT_LT(half.json()["output_bytes"].get<double>(),
            0.6 * half.json()["input_bytes"].get<double>());
  const ProcessResult by_variable =
      run({"convert", model_, folder_.file("whole.gguf"), "--json", "-q"},
          {{"DUNLIN_ARG_OUTTYPE", "f32"}, {"DUNLIN_ARG_PRECISION", "exact"}});
  ASSERT_EQ(by_variable.code, 0) << by_variable.err;
  EXPECT_EQ(by_variable.json()["output_bytes"], by_variable.json()["input_bytes"]);

  const std::string quantize = run({"quantize", "--print-config"}).out;
  EXPECT_THAT(quantize, testing::ContainsRegex("threads = 3 +# .*config.toml:5: threads\n"));
  EXPECT_THAT(quantize, testing::ContainsRegex("pure = true +# .*config.toml:6: pure\n"));
  const std::string pull = run({"pull", "--print-config"}).out;
  EXPECT_THAT(pull, testing::ContainsRegex("revision = \"v2\" +# .*config.toml:8: revision\n"));
  EXPECT_THAT(pull, testing::ContainsRegex("# token is set, by .*config.toml:9: token, and not"));
  EXPECT_THAT(pull, Not(HasSubstr("hf_secret")));
  // What convert prints, read again, does not ask for what only a prepared directory has.
  const ProcessResult printed = run({"convert", "--print-config"});
  ASSERT_EQ(printed.code, 0) << printed.err;
  write_all(file_, printed.out);
  EXPECT_EQ(run({"convert", model_, folder_.file("again.gguf"), "-q"}).code, 0);
}

TEST_F(Config, ErrorsNameFileLineAndTheNearestName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"max-tokens = 3\ntempp = 1\n", ":2: tempp is not a setting; did you mean temp?"},
      {"[runn]\ntemp = 1\n", ":1: [runn] is not a command; did you mean run?"},
      {"[run]\n\nrepetitions = 1\n", ":3: repetitions is not a setting"},
      {"[bench]\nrepetitions = 1\n", ":2: repetitions is not a setting"},
      {"temp = \n", ":1: "},
      {"temp = 1\ntemp = 2\n", ":2: "},
      {"temp = 1\ntemperature = 2\n", "config.toml:"},
      {"temp = 'warm'\n", ":1: temp: \"warm\" is not a number"},
      {"temp = inf\n", ":1: temp: \"inf\" is not a number"},
      {"temp = true\n", ":1: temp: \"true\" is not a number"},
      {"temp = -1\n", ":1: temp: temperature is -1"},
      {"temp = 1979-05-27\n", ":1: temp is neither text, a number, true, false nor a list"},
      {"temp = [1, 2]\n", "config.toml:1: temp is given more than once"},
      {"stop = [['a']]\n", ":1: a list within a list"},
      {"json = 'maybe'\n", ":1: json: \"maybe\" is neither true nor false"},
      {"backend = 'abacus'\n", ":1: backend: \"abacus\" is not one of cpu, reference"},
      {"disable = ['all', 'shared_inputs']\n",
       ":1: disable: shared_inputs: there is no such optimisation; did you mean shared_input?"},
      {"watch = 'x'\nuntil = 'much'\n", ":2: until: \"much\""},
      {"config = 'x'\n", ":1: config is not a setting"},
      {"prompt = 'a'\nfile = 'b'\n", "cannot be given together with"},
  };
  for (const auto& [text, message] : cases) {
    write_all(file_, text);
    const ProcessResult result = run({"run", model_});
    EXPECT_EQ(result.code, 2) << text << result.err;
    EXPECT_THAT(result.err, StartsWith("error: " + folder_.path())) << text;
    EXPECT_THAT(result.err, HasSubstr(message)) << text;
  }
}

TEST_F(Config, AnotherFileOrNone) {
  write_all(file_, "max-tokens = 5\n");
  write_all(folder_.file("other.toml"), "max-tokens = 2\n");
  const auto with = [this](std::vector<std::string> more,
                           const std::map<std::string, std::string>& environment = {}) {
    std::vector<std::string> arguments = three_tokens();
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, environment);
  };
  EXPECT_EQ(answer_tokens(with({"--config", folder_.file("other.toml")})), 2u);
  EXPECT_EQ(answer_tokens(with({}, {{"DUNLIN_ARG_CONFIG", folder_.file("other.toml")}})), 2u);
  EXPECT_EQ(answer_tokens(with({"-n", "1", "--config", ""})), 1u);
  EXPECT_THAT(with({"--config", "/nowhere.toml"}).err, HasSubstr("/nowhere.toml: No such file"));
  EXPECT_THAT(with({"--config", folder_.path()}).err, HasSubstr("Is a directory"));
  EXPECT_THAT(with({"--config", "/dev/zero"}).err, HasSubstr("/dev/zero: more than"));
}

TEST_F(Config, AFileThatCannotBeLookedForIsAnErrorAndNoneAtAllIsNot) {
  std::filesystem::create_symlink("config.toml", file_);
  const ProcessResult loop = run(three_tokens());
  EXPECT_EQ(loop.code, 2);
  EXPECT_THAT(loop.err, StartsWith("error: " + file_ + ": "));
  std::filesystem::remove(file_);
  std::filesystem::create_symlink("nowhere.toml", file_);
  EXPECT_THAT(run(three_tokens()).err, StartsWith("error: " + file_ + ": No such file"));
  EXPECT_EQ(run(three_tokens(), {{"XDG_CONFIG_HOME", folder_.file("nowhere")}}).code, 0);
  // A folder of the path is a file.
  EXPECT_EQ(run(three_tokens(), {{"XDG_CONFIG_HOME", test_data("CMakeLists.txt")}}).code, 0);
}

TEST_F(Config, AVariableOfNoFlagIsAWarning) {
  const ProcessResult result = run(three_tokens(), {{"DUNLIN_ARG_MAX_TOKNS", "2"},
                                                    {"DUNLIN_ARG_MAX_TOKENS", "3"},
                                                    {"DUNLIN_ARG_REPETITIONS", "3"}});
  EXPECT_EQ(answer_tokens(result), 3u);
  EXPECT_EQ(
      result.err,
      "warning: DUNLIN_ARG_MAX_TOKNS belongs to no flag; did you mean DUNLIN_ARG_MAX_TOKENS?\n");
  EXPECT_EQ(
      run(three_tokens(), {{"DUNLIN_ARG_ZZZZZZZZZZZZ", "2"}, {"DUNLIN_ARG_MAX_TOKENS", "1"}}).err,
      "warning: DUNLIN_ARG_ZZZZZZZZZZZZ belongs to no flag\n");
}

TEST_F(Config, AnExcludedOrUnusableSettingIsLeftOut) {
  write_all(file_, "system-prompt = 'Be brief.'\nlayers = 1\nprompt = 'Hello'\n");
  EXPECT_EQ(run(three_tokens()).code, 0);
  EXPECT_EQ(run({"inspect", model_}).code, 0);  // --layers needs --program
}

TEST_F(Config, HelpNeedsNoConfiguration) {
  write_all(file_, "nonsense\n");
  EXPECT_EQ(run({"run", "--help"}).code, 0);
  EXPECT_EQ(run({"help", "run"}).code, 0);
  EXPECT_EQ(run({"version"}).code, 0);
}

}  // namespace
}  // namespace dunlin

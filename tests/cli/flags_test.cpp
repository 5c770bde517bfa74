// Values of flags and of their variables, as processes: strict, in range, and refused by name before
// any model is read.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>

#include "process.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

// A model that is not there: whatever is told before it is looked for.
constexpr const char* kNoModel = "/nowhere/model.gguf";

struct NumericFlag {
  std::vector<std::string> command;
  const char* flag;
  std::vector<const char*> out_of_range;
  // Every flag reads numbers with the parser of numbers_test.cpp, and a value is a process here: one
  // integer, one real number and one list are tried in every form, the others in those that show the
  // parser.
  bool every_form = false;
};

const std::vector<NumericFlag>& numeric_flags() {
  static const std::vector<NumericFlag> kFlags = {
      {{"run", kNoModel}, "--ctx-size", {"-1", "99999999999"}},
      {{"run", kNoModel}, "--threads", {"-1", "1025", "99999999999999999999"}},
      {{"run", kNoModel}, "--parallel", {"0", "-1", "1025"}},
      {{"run", kNoModel}, "--ubatch-size", {"0", "65537"}},
      {{"run", kNoModel}, "--batch-size", {"0", "65537"}},
      {{"run", kNoModel}, "--steps-per-call", {"0", "-1", "65"}},
      {{"run", kNoModel}, "--isolate-timeout", {"0", "-1", "604801"}},
      {{"run", kNoModel}, "--layers", {"-1", "4097"}},
      {{"run", kNoModel}, "--pack-cache-gb", {"0", "-1", "1048577"}},
      {{"run", kNoModel}, "--pack-cache-least-mb", {"-1", "1048577"}},
      {{"run", kNoModel}, "--max-tokens", {"-2", "9223372036854775808"}, true},
      {{"run", kNoModel}, "--temp", {"-0.1", "101", "1e39"}, true},
      {{"run", kNoModel}, "--top-k", {"-1", "2147483648"}},
      {{"run", kNoModel}, "--top-p", {"-0.1", "1.1"}},
      {{"run", kNoModel}, "--min-p", {"-0.1", "1.1"}},
      {{"run", kNoModel}, "--repeat-penalty", {"0", "101"}},
      {{"run", kNoModel}, "--repeat-last-n", {"-2", "2147483648"}},
      {{"run", kNoModel}, "--frequency-penalty", {"-101", "101"}},
      {{"run", kNoModel}, "--presence-penalty", {"-101", "101"}},
      {{"run", kNoModel}, "--seed", {"-1", "18446744073709551616"}},
      {{"chat", kNoModel}, "--max-tokens", {"-2"}},
      {{"chat", kNoModel}, "--temp", {"-1"}},
      {{"inspect", kNoModel, "--program"}, "--layers", {"-1"}},
      {{"verify", kNoModel, "--ref", "none"}, "--tol", {"-1", "1e10"}},
      {{"verify", kNoModel, "--ref", "none"}, "--threads", {"-1", "1025"}},
      {{"bench", "model", kNoModel}, "--repetitions", {"0", "1001"}},
      {{"bench", "model", kNoModel}, "--ubatch-size", {"0", "65537"}},
      {{"bench", "model", kNoModel}, "--n-prompt", {"-1", "99999999999"}, true},
      {{"bench", "model", kNoModel}, "--threads", {"-1", "1025"}},
      {{"bench", "optimizations", kNoModel}, "--n-prompt", {"0", "-1", "1048577"}},
      {{"bench", "optimizations", kNoModel}, "--n-gen", {"0", "1048577"}},
      {{"bench", "optimizations", kNoModel}, "--repetitions", {"0", "1001"}},
  };
  return kFlags;
}

std::string name_of(const NumericFlag& flag) {
  return fmt::format("{} {}", flag.command[0], flag.flag);
}

TEST(Flags, NumbersAreStrictAndNamed) {
  for (const NumericFlag& flag : numeric_flags()) {
    std::vector<std::string> values = {"", "1x"};
    values.insert(values.end(), flag.out_of_range.begin(), flag.out_of_range.end());
    if (flag.every_form) {
      values.insert(values.end(),
                    {" ", "x", "0x10", "010", "1 ", "nan", "inf", "1,,", "+1", "--", "1e999"});
    }
    for (const std::string& value : values) {
      std::vector<std::string> arguments = flag.command;
      arguments.insert(arguments.end(), {flag.flag, value});
      const ProcessResult result = run_dunlin(arguments);
      EXPECT_EQ(result.code, 2) << name_of(flag) << " \"" << value << "\": " << result.err;
      EXPECT_THAT(result.err, StartsWith(fmt::format("error: {}", flag.flag)))
          << name_of(flag) << " \"" << value << "\"";
    }
    if (!flag.every_form) continue;
    // The form --flag= is an empty value, not the next argument.
    std::vector<std::string> arguments = flag.command;
    arguments.insert(arguments.end(), {fmt::format("{}=", flag.flag), "1"});
    EXPECT_THAT(run_dunlin(arguments).err, StartsWith(fmt::format("error: {}", flag.flag)));
  }
}

TEST(Flags, VariablesAreAsStrictAndNamed) {
  for (const NumericFlag& flag : numeric_flags()) {
    std::string variable = "DUNLIN_ARG_";
    for (const char* letter = flag.flag + 2; *letter != '\0'; ++letter)
      variable += *letter == '-' ? '_' : static_cast<char>(std::toupper(*letter));
    std::vector<std::string> values = {"", "x", flag.out_of_range[0]};
    if (flag.every_form) values.insert(values.end(), {"010", "0x10", "nan"});
    for (const std::string& value : values) {
      const ProcessResult result = run_dunlin(flag.command, {.environment = {{variable, value}}});
      EXPECT_EQ(result.code, 2) << variable << "=" << value << ": " << result.err;
      EXPECT_THAT(result.err, StartsWith(fmt::format("error: {}", variable))) << value;
    }
  }
}

TEST(Flags, TheCommandLineWinsOverAVariable) {
  const ProcessResult result =
      run_dunlin({"run", test_data("data/llama_plain/model"), "--prompt-ids", "3", "-n", "4",
                  "--ignore-eos", "--json"},
                 {.environment = {{"DUNLIN_ARG_MAX_TOKENS", "nonsense"},
                                  {"DUNLIN_ARG_PROMPT", "excluded by --prompt-ids"},
                                  {"DUNLIN_ARG_QUIET", "TRUE"},
                                  {"DUNLIN_ARG_VERBOSE", ""}}});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["ids"].size(), 4u);
  EXPECT_EQ(result.err, "");
}

TEST(Flags, WordsAreCheckedBeforeTheModel) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--backend", "abacus"}, "--backend: \"abacus\" is not one of cpu, reference"},
      {{"--precision", "vague"},
       "--precision: \"vague\" is not one of auto, exact, int8, fast, f32"},
      {{"--logit-bias", "3"}, "--logit-bias: \"3\" is not of the form"},
      {{"--logit-bias", "3+0x1"}, "--logit-bias: "},
      {{"--logit-bias", "3+-1"}, "--logit-bias: "},
      {{"--logit-bias", "-3+1"}, "--logit-bias: "},
      {{"--logit-bias", "3+20000"}, "--logit-bias: "},
      {{"--stop", ""}, "--stop: "},
      {{"--json=maybe"}, "--json: \"maybe\" is neither true nor false"},
      {{"--temp"}, "--temp needs a value"},
      {{"--temp", "1", "--temp", "2"}, "--temp is given more than once"},
  };
  for (const auto& [flags, message] : cases) {
    std::vector<std::string> arguments = {"run", kNoModel, "--prompt-ids", "1"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProcessResult result = run_dunlin(arguments);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, StartsWith("error: " + message));
  }
  EXPECT_THAT(run_dunlin({"run", ""}).err, StartsWith("error: --model: the text is empty"));
}

TEST(Flags, AValueThatLooksLikeAFlagIsAValue) {
  const ProcessResult result =
      run_dunlin({"run", kNoModel, "-p", "-x --temprature", "--stop", "--yes", "--top-k", "y"});
  EXPECT_THAT(result.err, StartsWith("error: --top-k: \"y\" is not an integer"));
}

}  // namespace
}  // namespace dunlin

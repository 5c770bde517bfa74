// Commands and their flags, and what comes of a command line. What adds them does not include CLI11,
// which takes seconds to compile.
#include "cli/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench_batches.h"
#include "cli/bench_forward.h"
#include "cli/bench_sweep.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/diffusion_flags.h"
#include "cli/flags.h"
#include "cli/help_format.h"
#include "cli/inside_flags.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/print_config.h"
#include "cli/prompt_source.h"
#include "cli/quantize_flags.h"
#include "cli/reasoning_flags.h"
#include "cli/settings_file.h"
#include "cli/value_layers.h"
#include "support/saved_environment.h"

#ifdef CLI11_VERSION
#error "a header of src/cli includes CLI11; cli/parser.h alone may"
#endif

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct FlagValues {
  std::string model = {};
  int64_t tokens = 64;
  int64_t layers = -1;
  double tolerance = 2e-5;
  std::optional<float> temperature = {};
  std::vector<std::string> stop = {};
  std::string output = "md";
  bool json = false;
};

Result<std::string> path_of(const std::string& name) {
  if (name == "gone") return model_error("gone: no such model");
  return "models/" + name;
}

std::string check_path(const std::string& text) {
  return text.starts_with("models/") ? "" : "not a path";
}

// `run MODEL`, and `bench forward`.
void add_commands(Command program, FlagValues& values, int& exit_code) {
  set_help_format(program);
  program.require_subcommand();
  program.version_flag("--version", "dunlin 1.2.3");
  Command run = program.add_command("run", "Answer a prompt");
  add_flag(run, "model,-m,--model", values.model, "the model")
      .required()
      .type_name("MODEL")
      .check({check_path})
      .transform(path_of);
  {
    const FlagGroup group(run, "Sampling");
    add_flag(run, "--temp,--temperature", values.temperature, "0 is greedy").default_str("0.8");
  }
  add_flag(run, "-n,--max-tokens", values.tokens, "how many").check(in_range(1, 100));
  const Flag tolerance = add_flag(run, "--tol", values.tolerance, "how far off");
  add_flag(run, "--layers", values.layers, "the first so many").default_str("").needs(tolerance);
  const Flag stop = add_flag(run, "--stop", values.stop, "end before this").delimiter(',');
  add_flag(run, "-o,--output", values.output, "the form").check(one_of({"md", "json"}));
  add_switch(run, "--json", values.json, "print one JSON object").excludes(stop);
  run.callback([&exit_code] { exit_code = 7; });
  Command bench = program.add_command("bench", "Measure speed");
  bench.require_subcommand();
  bench.add_command("forward", "One pass").callback([&exit_code] { exit_code = 8; });
}

class Commands : public testing::Test {
 protected:
  Commands() { add_commands(tree_.root(), values_, exit_code_); }

  std::optional<int> parse_line(std::vector<std::string> arguments) const {
    return parse(tree_.root(), {.arguments = std::move(arguments)}, /*run=*/true);
  }

  CommandTree tree_;
  FlagValues values_;
  int exit_code_ = 0;
};

TEST_F(Commands, ValuesReachTheirVariablesAndTheCommandRuns) {
  EXPECT_FALSE(parse_line({"run", "small", "-n", "3", "--temp", "0.5", "--stop", "a,b", "--stop",
                           "c", "-o", "json"})
                   .has_value());
  EXPECT_EQ(values_.model, "models/small");
  EXPECT_EQ(values_.tokens, 3);
  EXPECT_EQ(values_.temperature, 0.5f);
  EXPECT_THAT(values_.stop, ElementsAre("a", "b", "c"));
  EXPECT_EQ(values_.output, "json");
  EXPECT_FALSE(values_.json);
  EXPECT_EQ(exit_code_, 7);
  const Command run = tree_.root().selected().value();
  EXPECT_EQ(run.name(), "run");
  EXPECT_EQ(run.flag("--stop").count(), 3u);
  EXPECT_EQ(run.flag("--tol").count(), 0u);
  EXPECT_THAT(run.flag("--model").values(), ElementsAre("models/small"));
}

TEST_F(Commands, ASubcommandRuns) {
  EXPECT_FALSE(parse_line({"bench", "forward"}).has_value());
  EXPECT_EQ(exit_code_, 8);
  const Command bench = tree_.root().selected().value();
  EXPECT_EQ(bench.selected().value().name(), "forward");
}

TEST_F(Commands, ALineThatDoesNotRunNeedsNothing) {
  EXPECT_FALSE(parse(tree_.root(), {.arguments = {"run", "--json"}}, /*run=*/false).has_value());
  EXPECT_TRUE(values_.json);
  EXPECT_EQ(exit_code_, 0);
}

TEST(CommandLine, WhatIsWrongIsToldInOneLineWithAHint) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"run"}, "--model is required"},
      {{"run", "small", "-n", "0"}, "--max-tokens: 0 is outside 1..100"},
      {{"run", "small", "-n", "x"}, "--max-tokens: \"x\" is not an integer"},
      {{"run", "small", "--tol", "x"}, "--tol: \"x\" is not a number"},
      {{"run", "small", "-o", "xml"}, "--output: \"xml\" is not one of md, json"},
      {{"run", "small", "--json=2"}, "--json: \"2\" is neither true nor false"},
      {{"run", "small", "--layers", "1"}, "--layers requires --tol"},
      {{"run", "small", "--json", "--stop", "a"}, "--stop cannot be given together with --json"},
      {{"bench"}, "a command is missing"},
      {{"bench", "backward"}, "backward is not a command"},
  };
  for (const auto& [arguments, message] : cases) {
    CommandTree tree;
    FlagValues values;
    int exit_code = 0;
    add_commands(tree.root(), values, exit_code);
    testing::internal::CaptureStderr();
    const std::optional<int> ended = parse(tree.root(), {.arguments = arguments}, /*run=*/true);
    const std::string error = testing::internal::GetCapturedStderr();
    EXPECT_EQ(ended, std::optional<int>(2)) << message;
    EXPECT_THAT(error, StartsWith("error: " + message));
    EXPECT_THAT(error, HasSubstr("\n`dunlin help` lists the commands"));
    EXPECT_EQ(exit_code, 0) << message;
  }
}

TEST_F(Commands, AFailedTransformHasTheExitCodeOfItsError) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(parse_line({"run", "gone"}), std::optional<int>(3));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: gone: no such model\n");
  EXPECT_EQ(exit_code_, 0);
}

TEST_F(Commands, HelpAndVersionGoToStdout) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(parse_line({"run", "--help"}), std::optional<int>(0));
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, StartsWith("Answer a prompt\n\nUsage: dunlin run MODEL [FLAG...]\n"));
  EXPECT_THAT(help, HasSubstr("  -n, --max-tokens INT            how many [64]\n"));
  EXPECT_THAT(help, HasSubstr("      --tol NUMBER                how far off [2e-05]\n"));
  EXPECT_THAT(help, HasSubstr("      --layers INT                the first so many\n"));
  EXPECT_THAT(help, HasSubstr("  -o, --output md|json            the form [md]\n"));
  EXPECT_THAT(help, HasSubstr("\nSampling:\n"));
  testing::internal::CaptureStdout();
  EXPECT_EQ(parse_line({"--version"}), std::optional<int>(0));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "dunlin 1.2.3\n");
  EXPECT_EQ(exit_code_, 0);
}

TEST_F(Commands, FlagsSayWhatTheyAre) {
  EXPECT_THAT(tree_.root().subcommand_names(), ElementsAre("run", "bench"));
  EXPECT_FALSE(tree_.root().find_subcommand("chat").has_value());
  const Command run = tree_.root().find_subcommand("run").value();
  EXPECT_EQ(run.description(), "Answer a prompt");
  EXPECT_FALSE(run.find_flag("--steps").has_value());
  const Flag model = run.flag("--model");
  EXPECT_EQ(model.name(), "--model");
  EXPECT_TRUE(model.is_positional());
  EXPECT_TRUE(model.is_named());
  EXPECT_TRUE(model.has_name("-m"));
  EXPECT_THAT(model.short_names(), ElementsAre("m"));
  EXPECT_EQ(model.variable(), "DUNLIN_ARG_MODEL");
  EXPECT_EQ(model.value_kind(), "MODEL");
  EXPECT_EQ(run.flag("--output").value_kind(), "md|json");
  EXPECT_EQ(run.flag("--json").value_kind(), "");
  EXPECT_FALSE(run.flag("--json").takes_value());
  EXPECT_TRUE(run.flag("--stop").takes_list());
  EXPECT_FALSE(run.flag("--tol").takes_list());
  EXPECT_THAT(run.flag("--temp").long_names(), ElementsAre("temp", "temperature"));
  EXPECT_EQ(run.flag("--temp").default_str(), "0.8");
  EXPECT_THAT(run.flag("--json").excluded(), ElementsAre(run.flag("--stop")));
  EXPECT_THAT(run.flag("--stop").excluded(), ElementsAre(run.flag("--json")));
  EXPECT_THAT(run.flag("--layers").needed(), ElementsAre(run.flag("--tol")));
}

TEST_F(Commands, ArgumentsTakeTheRestOfTheLine) {
  std::vector<std::string> path;
  tree_.root().add_command("help", "List the commands").add_arguments("command", "which", path);
  EXPECT_FALSE(parse_line({"help", "bench", "forward"}).has_value());
  EXPECT_THAT(path, ElementsAre("bench", "forward"));
}

// Only complete_command_line() reads variables, and only those of the command that runs.
TEST_F(Commands, AVariableFillsInWhatTheLineLeavesOpen) {
  FlagValues unused;
  const auto add = [&unused](Command program, int& exit_code) {
    add_commands(program, unused, exit_code);
  };
  const SavedEnvironment environment("DUNLIN_ARG_MAX_TOKENS", "9");
  EXPECT_FALSE(parse_line({"run", "small"}).has_value());
  EXPECT_EQ(values_.tokens, 64);
  const CommandLine line = complete_command_line(add, {"run", "small"}).value();
  EXPECT_EQ(line.origins.at("--max-tokens"), "DUNLIN_ARG_MAX_TOKENS");
  EXPECT_FALSE(parse(tree_.root(), line, /*run=*/true).has_value());
  EXPECT_EQ(values_.tokens, 9);
}

}  // namespace
}  // namespace dunlin

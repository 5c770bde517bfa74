// Settings out of TOML: names, sections, values, and the place of what is wrong.
#include "cli/settings_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SettingsFile : public testing::Test {
 protected:
  SettingsFile() {
    Command run = program_.add_command("run", "");
    add(run, "--max-tokens");
    add(run, "--stop");
    add(run, "--config");
    run.add_switch("--print-config", "", ignored_).variable("");  // without one: no setting
    Command bench = program_.add_command("bench", "");
    add(bench.add_command("model", ""), "--repetitions");
  }
  static void add(Command command, const std::string& name) {
    command.add_value(name, "", "TEXT", /*list=*/false,
                      [](const std::string&) { return std::string(); });
  }

  std::vector<FileSetting> parse(const std::string& text) const {
    return parse_settings(text, "a.toml", program_).value();
  }
  std::string error_of(const std::string& text) const {
    const auto parsed = parse_settings(text, "a.toml", program_);
    if (parsed.ok()) return "no error";
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
    return parsed.error().message;
  }

  CommandTree tree_;
  Command program_ = tree_.root();
  bool ignored_ = false;
};

TEST_F(SettingsFile, AValueHasItsFlagItsPlaceAndItsText) {
  const auto settings = parse("\nmax-tokens = 3\nstop = 'x'\n");
  ASSERT_EQ(settings.size(), 2u);
  EXPECT_EQ(settings[0].flag, "--max-tokens");
  EXPECT_EQ(settings[0].command, "");
  EXPECT_EQ(settings[0].where, "a.toml:2: max-tokens");
  EXPECT_THAT(settings[0].values, ElementsAre("3"));
  EXPECT_EQ(settings[1].where, "a.toml:3: stop");
  EXPECT_THAT(parse(""), IsEmpty());
  EXPECT_THAT(parse("# nothing\n"), IsEmpty());
}

TEST_F(SettingsFile, ValuesAreAsOnACommandLine) {
  const auto values = [this](const std::string& value) {
    return parse("stop = " + value + "\n").at(0).values;
  };
  EXPECT_THAT(values("\"a\\nb\""), ElementsAre("a\nb"));
  EXPECT_THAT(values("'c:\\d'"), ElementsAre("c:\\d"));
  EXPECT_THAT(values("true"), ElementsAre("true"));
  EXPECT_THAT(values("false"), ElementsAre("false"));
  EXPECT_THAT(values("-1_000"), ElementsAre("-1000"));
  EXPECT_THAT(values("0x10"), ElementsAre("16"));
  EXPECT_THAT(values("0.25"), ElementsAre("0.25"));
  EXPECT_THAT(values("['a', 2, true]"), ElementsAre("a", "2", "true"));
  EXPECT_THAT(values("[]"), IsEmpty());
}

TEST_F(SettingsFile, SectionsAreCommands) {
  const auto settings =
      parse("max_tokens = 1\n[run]\nmax-tokens = 2\n[bench.model]\nrepetitions = 7\n");
  ASSERT_EQ(settings.size(), 3u);
  std::vector<std::string> commands;
  for (const FileSetting& each : settings) commands.push_back(each.command + each.flag);
  EXPECT_THAT(commands, testing::UnorderedElementsAre("--max-tokens", "run--max-tokens",
                                                      "bench model--repetitions"));
}

TEST_F(SettingsFile, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_EQ(error_of("max-tokns = 1\n"),
            "a.toml:1: max-tokns is not a setting; did you mean max-tokens?");
  EXPECT_EQ(error_of("[runn]\n"), "a.toml:1: [runn] is not a command; did you mean run?");
  EXPECT_THAT(error_of("\n[bench.modell]\n"),
              HasSubstr("a.toml:2: [modell] is not a command; did you mean model?"));
  EXPECT_THAT(error_of("[bench]\nrepetitions = 1\n"), HasSubstr("a.toml:2: repetitions is not"));
  EXPECT_THAT(error_of("[run]\nrepetitions = 1\n"), HasSubstr("a.toml:2: repetitions is not"));
  for (const char* name : {"config", "print-config"})
    EXPECT_THAT(error_of(std::string(name) + " = 'x'\n"), HasSubstr("is not a setting"));
  EXPECT_EQ(error_of("stop = [['a']]\n"),
            "a.toml:1: a list within a list is not a value of a flag");
  for (const char* value : {"1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[2020-01-01]"}) {
    EXPECT_EQ(error_of(std::string("stop = ") + value + "\n"),
              "a.toml:1: stop is neither text, a number, true, false nor a list");
  }
  EXPECT_THAT(error_of("stop = [{a = 1}]\n"), HasSubstr("stop is neither text"));
}

TEST_F(SettingsFile, WhatIsNoTomlIsNamedWithItsLine) {
  for (const char* text : {"stop =\n", "stop = 'x\n", "stop\n", "= 1\n", "stop = 1 2\n", "[run\n",
                           "stop = 1\nstop = 2\n", "\x01\n", "stop = '\xff'\n"}) {
    EXPECT_THAT(error_of(text), testing::StartsWith("a.toml:")) << text;
  }
  EXPECT_THAT(error_of("max-tokens = 1\n\nstop = \n"), testing::StartsWith("a.toml:3: "));
  EXPECT_NE(error_of(std::string(10000, '[')), "no error");
}

// The user's own file, another one, or none.
TEST_F(SettingsFile, TheFileIsNamedOrTheUsersOrNone) {
  const TemporaryFolder folder;
  const SavedEnvironment environment("XDG_CONFIG_HOME", folder.path());
  EXPECT_THAT(read_settings(std::nullopt, program_).value(), IsEmpty());
  std::filesystem::create_directory(folder.file("dunlin"));
  std::ofstream(folder.file("dunlin/config.toml")) << "stop = 'users'\n";
  std::ofstream(folder.file("other.toml")) << "stop = 'other'\n";
  EXPECT_THAT(read_settings(std::nullopt, program_).value().at(0).values, ElementsAre("users"));
  EXPECT_THAT(read_settings(folder.file("other.toml"), program_).value().at(0).values,
              ElementsAre("other"));
  EXPECT_THAT(read_settings("", program_).value(), IsEmpty());
  EXPECT_THAT(read_settings(folder.file("none.toml"), program_).error().message,
              HasSubstr("none.toml: No such file"));
}

}  // namespace
}  // namespace dunlin

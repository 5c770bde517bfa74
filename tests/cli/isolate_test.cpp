// `--isolate` as processes: the same answers, exit code 5 whatever becomes of the plug-in's process, and
// no process that is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../pjrt/faulty_plugin.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

const std::string kIsolatedModel = test_data("data/llama_plain/model");

// Calls that always come, whatever a step is made of: a model has more than four weights, and compiles
// what asks for layouts, a program for its cache and one for its steps at least; eight tokens are eight steps, each of which
// executes one and copies from the device.
class IsolateCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (DUNLIN_HAS_PJRT == 0) GTEST_SKIP() << "a build without PJRT";
  }

  // Eight tokens, greedily.
  static ProcessResult run(const Arguments& more, const ProcessInput& input = {}) {
    Arguments arguments = {"run", kIsolatedModel, "--prompt-ids", "3,4,5", "-n",  "8",  "--temp",
                           "0",   "--ignore-eos", "-c",           "64",    "-ub", "32", "--backend",
                           "pjrt"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, input);
  }
  static ProcessResult run_faulty(Arguments more, const ProcessInput& input = {}) {
    more.insert(more.end(), {"--device", DUNLIN_FAULTY_PLUGIN});
    return run(more, input);
  }
};

TEST_F(IsolateCommand, AnswersAreTheSame) {
  const ProcessResult here = run({"--json"});
  ASSERT_EQ(here.code, 0) << here.err;
  const ProcessResult there = run({"--json", "--isolate"});
  ASSERT_EQ(there.code, 0) << there.err;
  EXPECT_EQ(there.json()["ids"].size(), 8u);
  EXPECT_EQ(there.json()["ids"], here.json()["ids"]);
  EXPECT_THAT(there.err, HasSubstr("plug-in in a process of its own"));
}

TEST_F(IsolateCommand, SoAreValuesAndPrograms) {
  const auto twice = [](Arguments arguments) {
    const ProcessResult here = run_dunlin(arguments);
    arguments.push_back("--isolate");
    const ProcessResult there = run_dunlin(arguments);
    EXPECT_EQ(there.code, here.code) << there.err << here.err;
    return std::pair(there.json(), here.json());
  };
  const auto [values, values_here] =
      twice({"verify", kIsolatedModel, "--ref", test_data("data/llama_plain/golden.safetensors"),
             "--backend", "pjrt", "--tol", "1e-3", "--json"});
  ASSERT_TRUE(values.is_object());
  EXPECT_EQ(values["pass"], true);
  EXPECT_EQ(values, values_here);
  const auto [programs, programs_here] =
      twice({"compile", kIsolatedModel, "-c", "64", "-ub", "32", "--json"});
  ASSERT_TRUE(programs.is_object());
  EXPECT_GE(programs["compiled"], 4);
  EXPECT_EQ(programs["plugin"], programs_here["plugin"]);
  ASSERT_EQ(programs["programs"].size(), programs_here["programs"].size());
  for (size_t i = 0; i < programs["programs"].size(); ++i) {
    for (const char* field : {"name", "argument_bytes", "temporary_bytes"})
      EXPECT_EQ(programs["programs"][i][field], programs_here["programs"][i][field]) << field;
  }
}

TEST_F(IsolateCommand, KilledItIsAnError) {
  for (const auto& [call, doing] :
       {std::pair{"load 1", "load the plug-in"},
        std::pair{"upload 5", "copy an array to the device"}, std::pair{"compile 1", "compile"},
        std::pair{"compile 3", "compile"}, std::pair{"execute 8", "execute"},
        std::pair{"download 8", "copy an array from the device"}}) {
    const PluginFault fault(std::string(call) + " hang");
    std::thread killer([&fault] { fault.kill_plugin(); });
    const ProcessResult result = run_faulty({"--isolate"});
    killer.join();
    EXPECT_EQ(result.code, 5) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr(DUNLIN_FAULTY_PLUGIN), HasSubstr(doing),
                                  HasSubstr(": the process of the plug-in ended with signal 9")));
    EXPECT_TRUE(has_ended(fault.wait().plugin)) << call;
  }
}

TEST_F(IsolateCommand, AnAbortIsAnErrorAndNoEndOfTheProgram) {
  const PluginFault fault("execute 8 abort");
  const ProcessResult isolated = run_faulty({"--isolate"});
  EXPECT_EQ(isolated.code, 5) << isolated.err;
  EXPECT_THAT(isolated.err, HasSubstr("execute: the process of the plug-in ended with signal 6"));
  // What it is for.
  EXPECT_EQ(run_faulty({}).code, 128 + SIGABRT);
}

TEST_F(IsolateCommand, AHangEndsAfterItsTime) {
  // The first call: a machine that is slow must not be late in one before it.
  const PluginFault fault("load 1 hang");
  const ProcessResult result = run_faulty({"--isolate", "--isolate-timeout", "3"});
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("load the plug-in: the process of the plug-in gave no answer "
                                    "within 3 s (--isolate-timeout)"));
  EXPECT_TRUE(has_ended(fault.wait().plugin));
}

TEST_F(IsolateCommand, ADeviceWithoutMemoryIsExitCode4WithItAndWithout) {
  for (const char* call : {"upload 5", "compile 3", "execute 8", "download 8"}) {
    const PluginFault fault(std::string(call) + " fail");
    for (const Arguments& more : {Arguments{"--isolate"}, Arguments{}}) {
      const ProcessResult result = run_faulty(more);
      EXPECT_EQ(result.code, 4) << call << ": " << result.err;
      EXPECT_THAT(result.err, HasSubstr("out of device memory, says the test")) << call;
    }
  }
}

// It is asked once, in its process as in this one; the same answers without.
TEST_F(IsolateCommand, APluginThatTakesNoLayoutsHasItsOwn) {
  const ProcessResult usual = run_faulty({"--json"});
  ASSERT_EQ(usual.code, 0) << usual.err;
  const PluginFault fault("compile 1 refuse");
  for (const Arguments& more : {Arguments{"--json", "--isolate"}, Arguments{"--json"}}) {
    const ProcessResult result = run_faulty(more);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["ids"], usual.json()["ids"]);
    EXPECT_THAT(result.err, AllOf(HasSubstr(DUNLIN_FAULTY_PLUGIN),
                                  HasSubstr(" takes no layout of the KV cache and chooses its own"),
                                  HasSubstr("no such attribute, says the test")));
  }
}

// What a program needs is absent where a plug-in does not tell, and not where it ended instead.
TEST_F(IsolateCommand, AProgramWhosePluginEndedIsNoProgramOfUnknownSize) {
  const PluginFault fault("memory 1 abort");
  const ProcessResult result =
      run_dunlin({"compile", kIsolatedModel, "-c", "64", "-ub", "32", "--only", "1x1 rows*",
                  "--device", DUNLIN_FAULTY_PLUGIN, "--isolate", "--json"});
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("ask a program for its memory: the process of the plug-in "
                                    "ended with signal 6"));
}

// A kept program that the plug-in refuses is compiled again; one that ends it is named.
TEST_F(IsolateCommand, KeptProgramsThatDoNotLoadAreRebuiltOrNamed) {
  const TemporaryFolder folder;
  const auto run_with_programs = [&folder] {
    return run_faulty({"--isolate", "--json"},
                      {.environment = {{"DUNLIN_COMPILE_CACHE", folder.path()}}});
  };
  const ProcessResult first = run_with_programs();
  ASSERT_EQ(first.code, 0) << first.err;
  {
    const PluginFault fault("load_program 1 fail");
    const ProcessResult again = run_with_programs();
    ASSERT_EQ(again.code, 0) << again.err;
    EXPECT_THAT(again.err, HasSubstr("warning: a program is compiled again: "));
    EXPECT_EQ(again.json()["ids"], first.json()["ids"]);
  }
  const PluginFault fault("load_program 2 abort");
  const ProcessResult ended = run_with_programs();
  EXPECT_EQ(ended.code, 5) << ended.err;
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr(folder.path()),
                    HasSubstr("load a compiled program: the process of the plug-in ended with"),
                    testing::Not(HasSubstr("compiled again"))));
}

TEST_F(IsolateCommand, ThePluginsProcessEndsWithItsParent) {
  const PluginFault fault("download 2 hang");
  std::thread killer([&fault] { fault.kill_parent(); });
  EXPECT_EQ(run_faulty({"--isolate"}).code, 128 + SIGKILL);
  killer.join();
  const pid_t process = fault.wait().plugin;
  ASSERT_GT(process, 0);
  for (int i = 0; i < 6000 && !has_ended(process); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(has_ended(process));
}

TEST_F(IsolateCommand, ItsHiddenCommandIsNoneForPeople) {
  const ProcessResult result = run_dunlin({"plugin-host"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("error: this is a part of --isolate"));
  EXPECT_THAT(run_dunlin({"help"}).out, testing::Not(HasSubstr("plugin-host")));
}

}  // namespace
}  // namespace dunlin

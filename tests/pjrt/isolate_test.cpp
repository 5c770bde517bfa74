// A plug-in in a process of its own: the same answers and errors, and an error whatever becomes of that
// process, which is gone afterwards.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/isolate/remote_calls.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "faulty_plugin.h"
#include "pjrt_device.h"

namespace dunlin::pjrt {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using Floats = std::vector<float>;

constexpr const char* kFaulty = DUNLIN_FAULTY_PLUGIN;

Result<std::shared_ptr<PluginCalls>> load_remote(const std::string& plugin, double seconds = 0) {
  IsolateOptions options;
  options.program = DUNLIN_BINARY;
  options.seconds = seconds;
  return RemoteCalls::load(plugin, options);
}

Result<std::shared_ptr<const Client>> open_remote(const std::string& plugin, double seconds = 0) {
  DUNLIN_ASSIGN_OR_RETURN(auto calls, load_remote(plugin, seconds));
  return Client::create(std::move(calls), 1);
}

std::string doubling_text(const TensorType& type) {
  Builder b;
  const Var x = b.argument(type);
  return b.finish({b.add(x, x)});
}

// Twice the values: every kind of call once.
Result<Floats> double_through(const Client& client, const Floats& values) {
  const TensorType type{Element::f32, {static_cast<int64_t>(values.size())}};
  DUNLIN_ASSIGN_OR_RETURN(const Buffer argument,
                          client.upload(type, std::as_bytes(std::span(values)), 0));
  DUNLIN_ASSIGN_OR_RETURN(const auto program, client.compile(doubling_text(type), {}));
  DUNLIN_ASSIGN_OR_RETURN(const auto results, program->execute({{argument.id()}}));
  Floats doubled(values.size());
  DUNLIN_RETURN_IF_ERROR(results[0][0].download(type, std::as_writable_bytes(std::span(doubled))));
  return doubled;
}

// Loads a plug-in and makes every kind of call.
Result<Floats> use_plugin(const std::string& plugin, double seconds = 0) {
  DUNLIN_ASSIGN_OR_RETURN(const auto client, open_remote(plugin, seconds));
  return double_through(*client, {1, 2, 3});
}

class Isolate : public testing::Test {
 protected:
  void SetUp() override {
    DUNLIN_NEEDS_CPU_PLUGIN();
    plugin_ = find_plugin("cpu-xla")->path;
  }
  // No process is left, and none that nobody has waited for.
  void TearDown() override {
    const pid_t left = ::waitpid(-1, nullptr, WNOHANG);
    const int code = errno;
    EXPECT_EQ(left, -1);
    EXPECT_EQ(code, ECHILD);
  }

  std::string plugin_;
};

// The few that the fast set has (CMakeLists.txt): each start of the plug-in takes a second or more.
class IsolatedPlugin : public Isolate {};

TEST_F(IsolatedPlugin, AnswersAreThoseOfAPluginInThisProcess) {
  const auto here = test_client(2);
  auto calls = load_remote(plugin_);
  ASSERT_TRUE(calls.ok()) << calls.error().message;
  const auto there = Client::create(*calls, 2);
  ASSERT_TRUE(there.ok()) << there.error().message;
  EXPECT_EQ((*there)->plugin().path, here->plugin().path);
  EXPECT_EQ((*there)->plugin().api_version, here->plugin().api_version);
  EXPECT_EQ((*there)->plugin().is_cuda, here->plugin().is_cuda);
  EXPECT_EQ((*there)->platform(), here->platform());
  EXPECT_EQ((*there)->platform_version(), here->platform_version());
  EXPECT_EQ((*there)->device_kind(), here->device_kind());
  EXPECT_EQ((*there)->device_names(), here->device_names());
  EXPECT_EQ((*there)->device_ids(), here->device_ids());

  const TensorType type{Element::f32, {16, 16}};
  Floats values(256);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0f / static_cast<float>(i + 3);
  Builder b;
  const Var x = b.argument(type);
  const std::string text = b.finish(
      {b.unary("exponential", b.dot(x, x, {.contract_left = {1}, .contract_right = {0}}))});
  std::vector<Floats> results;
  std::vector<MemoryStats> memory;
  for (const Client* client : {here.get(), there->get()}) {
    const auto argument = client->upload(type, std::as_bytes(std::span(values)), 0);
    ASSERT_TRUE(argument.ok()) << argument.error().message;
    const auto program = client->compile(text, {});
    ASSERT_TRUE(program.ok()) << program.error().message;
    memory.push_back((*program)->compiled().memory().value());
    EXPECT_FALSE((*program)->compiled().optimised().value().empty());
    const auto again = client->load((*program)->compiled().serialised().value());
    ASSERT_TRUE(again.ok()) << again.error().message;
    for (const LoadedProgram* each : {program->get(), again->get()}) {
      const auto outputs = each->execute({{argument->id()}});
      ASSERT_TRUE(outputs.ok()) << outputs.error().message;
      Floats& result = results.emplace_back(256);
      ASSERT_TRUE((*outputs)[0][0].download(type, std::as_writable_bytes(std::span(result))).ok());
    }
  }
  for (const Floats& each : results)
    EXPECT_EQ(std::memcmp(each.data(), results[0].data(), sizeof(float) * 256), 0);
  EXPECT_EQ(memory[1].arguments, memory[0].arguments);
  EXPECT_EQ(memory[1].outputs, memory[0].outputs);
  EXPECT_EQ(memory[1].temporary, memory[0].temporary);
}

TEST_F(IsolatedPlugin, ErrorsOfThePluginAreItsOwn) {
  const auto here = test_client()->compile("module { nonsense }", {});
  const auto client = open_remote(plugin_);
  ASSERT_TRUE(client.ok()) << client.error().message;
  const auto there = (*client)->compile("module { nonsense }", {});
  ASSERT_FALSE(there.ok());
  EXPECT_EQ(there.error().kind, here.error().kind);
  EXPECT_EQ(there.error().message, here.error().message);
  EXPECT_FALSE((*client)->lost().has_value());
  EXPECT_TRUE(double_through(**client, {1, 2}).ok());
  for (const char* wrong : {"/no/such/plugin.so", "libm.so.6"}) {
    const auto loaded = load_remote(wrong);
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().kind, ErrorKind::device);
    EXPECT_EQ(loaded.error().message, LocalCalls::load(wrong).error().message);
  }
}

// Arrays that need a larger window, the largest of which is not kept.
TEST_F(Isolate, ArraysOfAnySizeComeBack) {
  const auto client = open_remote(plugin_);
  ASSERT_TRUE(client.ok()) << client.error().message;
  for (const int64_t size : {3, 1 << 18, (1 << 18) + 1, 17 << 20, 5, 1 << 20}) {
    const TensorType type{Element::f32, {size}};
    Floats values(static_cast<size_t>(size));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 8191);
    const auto buffer = (*client)->upload(type, std::as_bytes(std::span(values)), 0);
    ASSERT_TRUE(buffer.ok()) << buffer.error().message;
    Floats back(values.size(), -1.0f);
    const auto copied = buffer->download(type, std::as_writable_bytes(std::span(back)));
    ASSERT_TRUE(copied.ok()) << copied.error().message;
    EXPECT_TRUE(back == values) << size;
  }
}

TEST_F(Isolate, ADonatedArrayIsUpdatedWhereItLies) {
  const auto client = open_remote(plugin_);
  ASSERT_TRUE(client.ok()) << client.error().message;
  const TensorType type{Element::f32, {64, 64}};
  Builder b;
  const Var array = b.argument(type, "{tf.aliasing_output = 0 : i32}");
  const Var ones = b.constant({Element::f32, {1, 64}}, 1.0);
  const auto program = (*client)->compile(
      b.finish({b.dynamic_update_slice(array, ones, {b.scalar(7), b.scalar(0)})}), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const Floats zeros(64 * 64, 0.0f);
  auto state = (*client)->upload(type, std::as_bytes(std::span(zeros)), 0);
  ASSERT_TRUE(state.ok()) << state.error().message;
  const uintptr_t before = state->address().value();
  for (int step = 0; step < 3; ++step) {
    auto results = (*program)->execute({{state->id()}});
    ASSERT_TRUE(results.ok()) << results.error().message;
    *state = std::move((*results)[0][0]);
    EXPECT_EQ(state->address().value(), before);
  }
  Floats values(64 * 64);
  ASSERT_TRUE(state->download(type, std::as_writable_bytes(std::span(values))).ok());
  EXPECT_EQ(values[7 * 64], 1.0f);
  EXPECT_EQ(values[8 * 64], 0.0f);
}

TEST_F(Isolate, ThreadsCompileAtTheSameTime) {
  const auto client = open_remote(plugin_);
  ASSERT_TRUE(client.ok()) << client.error().message;
  std::vector<std::thread> threads;
  for (size_t i = 1; i <= 4; ++i) {
    threads.emplace_back([&client, i] {
      const auto doubled = double_through(**client, Floats(i, 1.5f));
      ASSERT_TRUE(doubled.ok()) << doubled.error().message;
      EXPECT_EQ(*doubled, Floats(i, 3.0f));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// While one thread waits for a call that does not end, another one's comes to its end.
TEST_F(Isolate, ACallThatHangsDoesNotStopOtherThreads) {
  const PluginFault fault("compile 1 hang");
  const auto client = open_remote(kFaulty);
  ASSERT_TRUE(client.ok()) << client.error().message;
  Result<Floats> stuck = Floats();
  std::thread waiting([&] { stuck = double_through(**client, {1}); });
  fault.wait();
  EXPECT_TRUE(double_through(**client, {1, 2}).ok());
  fault.kill_plugin();
  waiting.join();
  ASSERT_FALSE(stuck.ok());
  EXPECT_THAT(stuck.error().message, HasSubstr("compile: "));
}

// A copy of this process that ends leaves the plug-in's process to this one.
TEST_F(Isolate, AForkedCopyOfThisProcessEndsNothing) {
  auto client = open_remote(plugin_);
  ASSERT_TRUE(client.ok()) << client.error().message;
  const pid_t copy = ::fork();
  if (copy == 0) {
    *client = nullptr;
    ::_exit(0);
  }
  ASSERT_GT(copy, 0);
  ASSERT_EQ(::waitpid(copy, nullptr, 0), copy);
  const auto doubled = double_through(**client, {1, 2});
  ASSERT_TRUE(doubled.ok()) << doubled.error().message;
}

// A terminal sends Ctrl-C to all processes of a program, and a supervisor SIGTERM.
TEST_F(Isolate, SignalsThatEndAProgramAreForTheParent) {
  const PluginFault fault("open 1 note");
  const auto client = open_remote(kFaulty);
  ASSERT_TRUE(client.ok()) << client.error().message;
  const pid_t process = fault.wait().plugin;
  ASSERT_GT(process, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) ::kill(process, signal);
  const auto doubled = double_through(**client, {1, 2});
  ASSERT_TRUE(doubled.ok()) << doubled.error().message;
  EXPECT_EQ(*doubled, (Floats{2, 4}));
}

struct Call {
  const char* name;   // of faulty_plugin.cpp
  const char* doing;  // in an error
};

class IsolateFault : public Isolate, public testing::WithParamInterface<Call> {
 protected:
  std::string prefix() const { return fmt::format("{}: {}: ", kFaulty, GetParam().doing); }
  std::string first(const char* action) const {
    return fmt::format("{} 1 {}", GetParam().name, action);
  }
};

TEST_P(IsolateFault, KilledInACall) {
  const PluginFault fault(first("hang"));
  std::thread killer([&fault] { fault.kill_plugin(); });
  const auto used = use_plugin(kFaulty);
  killer.join();
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.error().kind, ErrorKind::device);
  EXPECT_EQ(used.error().message,
            prefix() + "the process of the plug-in ended with signal 9 (Killed)");
}

TEST_P(IsolateFault, APluginThatAborts) {
  const PluginFault fault(first("abort"));
  const auto used = use_plugin(kFaulty);
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.error().kind, ErrorKind::device);
  EXPECT_EQ(used.error().message,
            prefix() + "the process of the plug-in ended with signal 6 (Aborted)");
}

TEST_P(IsolateFault, APluginThatEndsTheProcess) {
  const PluginFault fault(first("exit"));
  const auto used = use_plugin(kFaulty);
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.error().kind, ErrorKind::device);
  EXPECT_EQ(used.error().message, prefix() + "the process of the plug-in ended with exit code 3");
}

INSTANTIATE_TEST_SUITE_P(
    Calls, IsolateFault,
    testing::Values(Call{"load", "load the plug-in"}, Call{"open", "open the device"},
                    Call{"upload", "copy an array to the device"}, Call{"compile", "compile"},
                    Call{"execute", "execute"}, Call{"download", "copy an array from the device"}),
    [](const testing::TestParamInfo<Call>& it) { return std::string(it.param.name); });

// On a machine that is slow enough an earlier call than the one that hangs takes as long.
TEST_F(Isolate, ACallThatTakesTooLongIsAnErrorAndItsProcessEnds) {
  for (const char* what : {"load 1 hang", "open 1 hang", "compile 1 hang", "execute 1 hang"}) {
    const PluginFault fault(what);
    const auto used = use_plugin(kFaulty, /*seconds=*/2);
    ASSERT_FALSE(used.ok()) << what;
    EXPECT_EQ(used.error().kind, ErrorKind::device);
    EXPECT_THAT(
        used.error().message,
        AllOf(StartsWith(kFaulty), EndsWith("the process of the plug-in gave no answer within 2 s "
                                            "(--isolate-timeout)")));
  }
}

TEST_F(IsolatedPlugin, WhatIsLostStaysLost) {
  const PluginFault fault("open 1 note");
  const auto client = open_remote(kFaulty);
  ASSERT_TRUE(client.ok()) << client.error().message;
  EXPECT_FALSE((*client)->lost().has_value());
  const TensorType type{Element::f32, {2}};
  const Floats values{1, 2};
  const auto buffer = (*client)->upload(type, std::as_bytes(std::span(values)), 0);
  ASSERT_TRUE(buffer.ok());
  fault.kill_plugin();
  const auto first = (*client)->compile(doubling_text(type), {});
  ASSERT_FALSE(first.ok());
  EXPECT_THAT(first.error().message, HasSubstr("compile: the process of the plug-in ended with"));
  ASSERT_TRUE((*client)->lost().has_value());
  EXPECT_EQ((*client)->lost()->message, first.error().message);
  Floats back(2);
  const auto second = buffer->download(type, std::as_writable_bytes(std::span(back)));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message, first.error().message);
}

// Of the plug-in in this process, too.
TEST_F(Isolate, AnExhaustedDeviceIsAnErrorAndTheNextCallWorks) {
  for (const bool isolated : {true, false}) {
    for (const auto& [name, doing] :
         {std::pair{"upload", "copy tensor<3xf32> to the device"}, std::pair{"compile", "compile"},
          std::pair{"execute", "execute"},
          std::pair{"download", "copy tensor<3xf32> from the device"}}) {
      // The plug-in is loaded once into this process, and says what goes wrong when that is asked for.
      if (!isolated && std::string(name) != "upload") continue;
      const PluginFault fault(fmt::format("{} 1 fail", name));
      const auto calls = isolated ? load_remote(kFaulty) : LocalCalls::load(kFaulty);
      ASSERT_TRUE(calls.ok()) << calls.error().message;
      const auto client = Client::create(*calls, 1);
      ASSERT_TRUE(client.ok()) << client.error().message;
      const auto first = double_through(**client, {1, 2, 3});
      ASSERT_FALSE(first.ok()) << name;
      EXPECT_EQ(first.error().kind, ErrorKind::does_not_fit);
      EXPECT_EQ(first.error().message,
                fmt::format("{}: {}: out of device memory, says the test", kFaulty, doing));
      const auto second = double_through(**client, {1, 2, 3});
      ASSERT_TRUE(second.ok()) << second.error().message;
      EXPECT_EQ(*second, (Floats{2, 4, 6}));
    }
  }
}

}  // namespace
}  // namespace dunlin::pjrt

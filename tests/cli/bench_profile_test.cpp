// What is made of a recorded repetition: kinds of steps, a table, and a trace file.
#include "cli/bench_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/steady_clock.h"
#include "cli/trace_file.h"
#include "support/temporary_folder.h"
#include "trace_events.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kMicro = 1000;  // ns

std::vector<ProfiledStep> steps() {
  const auto linear = [](const std::string& layer) {
    return ProfiledStep{
        .operation = "linear+shared_input",
        .name = "layers." + layer + ".attend.q_proj",
        .nodes = {"layers." + layer + ".attend.q_proj", "layers." + layer + ".attend.k_proj"},
        .weights = {"model.layers." + layer + ".q.weight", "model.layers." + layer + ".k.weight"},
        .kernels = {{"linear q4 prompt", "gemm"}, {"linear q4 generated", "gemv"}}};
  };
  return {linear("0"),
          linear("11"),
          {.operation = "rms_norm", .name = "norm", .nodes = {"norm"}, .kernels = {{"n", "norm"}}}};
}

// Two runs of three steps of 4, 4 and 1 microseconds; a second worker helps with the first two.
Profile two_runs(int64_t start) {
  Profile profile(64);
  profile.describe(steps());
  int64_t at = start;
  for (int32_t run = 0; run < 2; ++run) {
    EXPECT_TRUE(profile.begin_run(
        {.begin_ns = at, .rows = 3, .prompt = run == 0, .generated = run == 1}, 6));
    at += kMicro / 2;
    for (int32_t step = 0; step < 3; ++step) {
      const int64_t took = step < 2 ? 4 * kMicro : kMicro;
      profile.add({.run = run,
                   .step = step,
                   .worker = 0,
                   .begin_ns = at,
                   .end_ns = at + took,
                   .busy_ns = took,
                   .bytes = step < 2 ? 2000.0 : 100.0,
                   .flops = step < 2 ? 6000.0 : 0.0});
      if (step < 2) {
        profile.add({.run = run,
                     .step = step,
                     .worker = 1,
                     .begin_ns = at + kMicro,
                     .end_ns = at + 3 * kMicro,
                     .busy_ns = kMicro});
      }
      at += took;
    }
    at += kMicro / 2;
    profile.end_run(at);
    at += kMicro;
  }
  return profile;
}

// 2000 bytes take 2 microseconds, 6000 operations 3.
constexpr Roofs kBoth = {.bytes_per_second = 1e9, .flops_per_second = 2e9};
constexpr Roofs kMemory = {.bytes_per_second = 1e9, .flops_per_second = std::nullopt};

TEST(RoofTime, TheLongerOneBounds) {
  EXPECT_DOUBLE_EQ(roof_time(2000, 6000, kBoth).seconds(), 3e-6);
  EXPECT_STREQ(roof_time(2000, 6000, kBoth).bound(), "compute");
  EXPECT_DOUBLE_EQ(roof_time(2000, 6000, kMemory).seconds(), 2e-6);
  EXPECT_STREQ(roof_time(2000, 6000, kMemory).bound(), "memory");
}

TEST(ProfileKinds, LayersAreOneKindAndTheCostliestComesFirst) {
  const auto kinds = profile_kinds(two_runs(0), kBoth);
  ASSERT_EQ(kinds.size(), 2u);
  EXPECT_EQ(kinds[0].name, "linear+shared_input layers.*.attend.q_proj");
  EXPECT_EQ(kinds[0].calls, 4);
  EXPECT_DOUBLE_EQ(kinds[0].seconds, 16e-6);
  EXPECT_DOUBLE_EQ(kinds[0].bytes, 8000);
  EXPECT_DOUBLE_EQ(kinds[0].flops, 24000);
  EXPECT_DOUBLE_EQ(kinds[0].roof_seconds, 12e-6);
  EXPECT_EQ(kinds[1].name, "rms_norm norm");
  EXPECT_EQ(kinds[1].calls, 2);
}

TEST(ProfileTable, HasSharesRatesAndFractionsOfTheRoof) {
  const std::string table = profile_table("pp512", two_runs(0), kBoth, 10);
  EXPECT_THAT(table, HasSubstr("pp512: 0.020 ms (runs: 2); 2 of 2 kinds of steps\n"));
  // 16 of 20 microseconds; 8000 bytes in 16; 12 of 16 at the roof.
  EXPECT_THAT(table,
              testing::ContainsRegex(
                  "linear[+]shared_input layers[.][*][.]attend[.]q_proj +4 +0[.]016 +80[.]0 % "
                  "+0[.]5 +0[.]00[12] +0[.]75 +compute"));
  EXPECT_THAT(profile_table("pp512", two_runs(0), kMemory, 10), HasSubstr("0.50  memory"));
  const std::string one = profile_table("pp512", two_runs(0), kBoth, 1);
  EXPECT_THAT(one, HasSubstr("1 of 2 kinds"));
  EXPECT_THAT(one, Not(HasSubstr("rms_norm")));
}

TEST(KernelsText, IsOfTheRowsThatTheRunHas) {
  const ProfiledStep step = steps()[0];
  EXPECT_EQ(kernels_text(step, {.prompt = true}), "gemm");
  EXPECT_EQ(kernels_text(step, {.generated = true}), "gemv");
  EXPECT_EQ(kernels_text(step, {.prompt = true, .generated = true}), "gemm, gemv");
}

class TraceFileTest : public testing::Test {
 protected:
  nlohmann::json trace() const {
    std::ifstream file(path_);
    return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("trace.json");
};

TEST_F(TraceFileTest, StepsNestInRunsAndRunsInTests) {
  auto file = TraceFile::create(path_);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->begin_process("a \"model\", 2 threads", 2).ok());
  ASSERT_TRUE(file->add("pp512", two_runs(steady_nanoseconds()), kBoth).ok());
  ASSERT_TRUE(file->add("tg1 @ d4", two_runs(steady_nanoseconds() + 50 * kMicro), kMemory).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(file->finish({{"cpu", "a processor"}}).ok());

  const auto json = trace();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["otherData"]["cpu"], "a processor");
  EXPECT_EQ(misnested(json), "");
  const auto tests = complete_events(json, "test");
  ASSERT_EQ(tests.size(), 2u);
  EXPECT_EQ(tests[0]["name"], "pp512");
  EXPECT_EQ(tests[0]["args"]["runs"], 2);
  EXPECT_EQ(tests[1]["name"], "tg1 @ d4");
  EXPECT_EQ(complete_events(json, "run").size(), 4u);
  EXPECT_EQ(complete_events(json, "rms_norm").size(), 4u);

  const auto linears = complete_events(json, "linear");
  ASSERT_EQ(linears.size(), 16u);  // 2 tests, 2 runs, 2 steps, 2 threads
  const auto& first = linears[0];
  EXPECT_EQ(first["name"], "linear+shared_input layers.0.attend.q_proj");
  EXPECT_EQ(first["tid"], 0);
  EXPECT_EQ(first["dur"], 4.0);
  const auto& args = first["args"];
  EXPECT_EQ(args["scope"], "layers.0.attend");
  EXPECT_EQ(args["nodes"], "layers.0.attend.q_proj, layers.0.attend.k_proj");
  EXPECT_EQ(args["weights"], "model.layers.0.q.weight, model.layers.0.k.weight");
  EXPECT_EQ(args["kernel"], "gemm");
  EXPECT_EQ(args["rows"], 3);
  EXPECT_EQ(args["bytes"], 2000);
  EXPECT_EQ(args["flops"], 6000);
  EXPECT_DOUBLE_EQ(args["gb_s"].get<double>(), 0.5);
  EXPECT_EQ(args["roof"], "compute");
  EXPECT_DOUBLE_EQ(args["roof_fraction"].get<double>(), 0.75);
  EXPECT_EQ(linears[1]["tid"], 1);
  EXPECT_EQ(linears[1]["name"], first["name"]);
  EXPECT_EQ(linears[1]["args"]["busy_us"], 1.0);

  std::vector<std::string> names;
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] == "M") names.push_back(event["args"]["name"].get<std::string>());
  }
  EXPECT_THAT(names, ElementsAre("a \"model\", 2 threads", "caller", "worker 1"));
}

TEST_F(TraceFileTest, ItIsThereWholeOrNotAtAll) {
  {
    auto file = TraceFile::create(path_);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->begin_process("model", 1).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  auto empty = TraceFile::create(path_);
  ASSERT_TRUE(empty.ok());
  ASSERT_TRUE(empty->finish(nlohmann::ordered_json::object()).ok());
  EXPECT_TRUE(trace()["traceEvents"].is_array());
  EXPECT_FALSE(TraceFile::create("/nowhere/trace.json").ok());
}

// An event that sticks out is what misnested() is there to find.
TEST(Misnested, FindsAnEventThatSticksOut) {
  const auto event = [](const char* name, double ts, double dur) {
    return nlohmann::json{{"ph", "X"}, {"name", name}, {"cat", "c"}, {"pid", 1},
                          {"tid", 0},  {"ts", ts},     {"dur", dur}};
  };
  EXPECT_EQ(misnested({{"traceEvents", {event("a", 0, 10), event("b", 2, 3), event("c", 5, 5)}}}),
            "");
  EXPECT_EQ(misnested({{"traceEvents", {event("a", 0, 10), event("b", 2, 9)}}}), "b");
}

}  // namespace
}  // namespace dunlin

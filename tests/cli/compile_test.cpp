// `dunlin compile` as a process: what it keeps, what it says, and the codes it ends with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Arguments = std::vector<std::string>;

const std::string kModel = test_data("data/llama_plain/model");

class CompileCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (DUNLIN_HAS_PJRT == 0) GTEST_SKIP() << "a build without PJRT";
  }
  // With compiled programs in the test's folder.
  ProcessResult run(const Arguments& arguments) const {
    return run_dunlin(arguments,
                      {.environment = {{"DUNLIN_COMPILE_CACHE", folder_.file("compiled")}}});
  }
  ProcessResult compile(Arguments more) const {
    more.insert(more.begin(), {"compile", kModel, "-c", "64", "-ub", "32"});
    return run(more);
  }

  TemporaryFolder folder_;
};

TEST_F(CompileCommand, KeepsWhatAModelRunsWith) {
  const ProcessResult first = compile({"--json"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("{\"schema_version\""));
  const auto json = first.json();
  const auto count = json["programs"].size();
  EXPECT_GE(count, 4u);
  EXPECT_EQ(json["compiled"], count);
  EXPECT_EQ(json["loaded"], 0);
  EXPECT_TRUE(json["topology"].is_null());
  EXPECT_EQ(json["devices"], 1);
  EXPECT_EQ(json["program_folder"], folder_.file("compiled"));
  EXPECT_GT(json["per_device"]["weights_bytes"], 0);
  EXPECT_GT(json["per_device"]["kv_bytes"], 0);
  EXPECT_THAT(json["per_device"]["weight_forms"].get<std::string>(), HasSubstr("linear: "));
  EXPECT_GT(json["per_device"]["total_bytes"], json["per_device"]["weights_bytes"]);
  for (const auto& program : json["programs"]) {
    EXPECT_EQ(program["from_cache"], false);
    EXPECT_EQ(program["argument_bytes"].get<int64_t>() + program["output_bytes"].get<int64_t>() -
                  program["aliased_bytes"].get<int64_t>() +
                  program["temporary_bytes"].get<int64_t>() + program["code_bytes"].get<int64_t>(),
              program["total_bytes"].get<int64_t>());
  }
  const auto again = compile({"--json"}).json();
  EXPECT_EQ(again["compiled"], 0);
  EXPECT_EQ(again["loaded"], count);

  const ProcessResult answer =
      run({"run", kModel, "-c", "64", "-ub", "32", "--backend", "pjrt", "--prompt-ids",
           "3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19", "-n", "4", "--ignore-eos", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const auto programs = answer.json()["backend"]["programs"];
  EXPECT_EQ(programs["compiled"], 0);
  EXPECT_GE(programs["loaded"], 3);
}

// Compiled once for a mesh, and found by those who run on it.
TEST_F(CompileCommand, KeepsWhatAMeshRunsWith) {
  const auto compiled = compile({"--mesh", "data=2,model=2", "-np", "2", "--json"});
  ASSERT_EQ(compiled.code, 0) << compiled.err;
  EXPECT_EQ(compiled.json()["devices"], 4);
  EXPECT_EQ(compiled.json()["mesh"], "data=2,model=2");
  const auto one = compile({"-np", "2", "--json"}).json();
  EXPECT_EQ(one["loaded"], 0);
  EXPECT_TRUE(one["mesh"].is_null());
  // Half of the matrices on each device, and a quarter of the cache.
  EXPECT_LT(compiled.json()["per_device"]["weights_bytes"],
            one["per_device"]["weights_bytes"].get<double>() * 0.51);
  EXPECT_EQ(4 * compiled.json()["per_device"]["kv_bytes"].get<int64_t>(),
            one["per_device"]["kv_bytes"].get<int64_t>());
  const ProcessResult answer =
      run({"run", kModel, "-c", "64", "-ub", "32", "-np", "2", "--backend", "pjrt", "--mesh",
           "data=2,model=2", "--prompt-ids", "3,4,5,6,7", "-n", "4", "--ignore-eos", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(answer.json()["backend"]["programs"]["compiled"], 0);
  EXPECT_GE(answer.json()["backend"]["programs"]["loaded"], 2);
}

// Of a file with packed weights, as they are held.
TEST_F(CompileCommand, CountsTheBytesOfPackedWeights) {
  const std::string packed = folder_.file("packed.gguf");
  ASSERT_EQ(run({"quantize", kModel, packed, "Q4_0", "--pure"}).code, 0);
  const ProcessResult result = run({"compile", packed, "-c", "64", "-ub", "32", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto device = result.json()["per_device"];
  EXPECT_THAT(device["weight_forms"].get<std::string>(), HasSubstr("in groups of 32"));
  const auto plain = compile({"--json"}).json()["per_device"];
  // Of 32 bits at most 9, and norms as they are.
  EXPECT_LT(device["weights_bytes"].get<double>(), plain["weights_bytes"].get<double>() * 0.3);
}

// A model as if its matrices had been written in another format.
TEST_F(CompileCommand, WeightsAreAsIfInTheFormatThatIsNamed) {
  const auto device = [this](Arguments flags) {
    flags.insert(flags.end(), {"--only", "1x1 rows*", "--json"});
    const ProcessResult result = compile(flags);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()["per_device"];
  };
  const auto plain = device({});
  const auto rows = device({"--quantize", "int8"});
  EXPECT_THAT(rows["weight_forms"].get<std::string>(), HasSubstr("i8, a scale per output"));
  EXPECT_LT(rows["weights_bytes"], plain["weights_bytes"]);
  EXPECT_EQ(device({"--quantize", "I8"})["weights_bytes"], rows["weights_bytes"]);
  const auto groups = device({"--quantize", "Q4_0"});
  EXPECT_THAT(groups["weight_forms"].get<std::string>(), HasSubstr("i4 in groups of 32"));
  EXPECT_LT(groups["weights_bytes"], rows["weights_bytes"]);
  EXPECT_THAT(rows["weight_forms"].get<std::string>(), Not(HasSubstr("bf16")));
  const auto output = device({"--quantize", "int8", "--output-type", "BF16"});
  EXPECT_THAT(output["weight_forms"].get<std::string>(), HasSubstr("embed: bf16"));
  for (const char* flag : {"--quantize", "--output-type"}) {
    EXPECT_EQ(compile({flag, ""}).code, 2) << flag;
    const ProcessResult unknown = compile({flag, "int3"});
    EXPECT_EQ(unknown.code, 2);
    EXPECT_THAT(unknown.err,
                HasSubstr(std::string(flag) + " int3: no number format of weights (known: "
                                              "int8, F32, F16, BF16, Q4_0"));
  }
  const std::string config = DUNLIN_SOURCE_DIR "/docs/planning/llama-3.2-1b.json";
  const ProcessResult mix = run({"compile", config, "--quantize", "Q4_K_M"});
  EXPECT_EQ(mix.code, 2);
  EXPECT_THAT(mix.err, HasSubstr("needs the names of a model's tensors"));
}

// XLA for CPU has no estimate.
TEST_F(CompileCommand, OnlySomeProgramsByTheirNames) {
  const auto json = compile({"--only", "1x1 rows*", "--only", "zeros, *", "--json"}).json();
  ASSERT_EQ(json["programs"].size(), 2u);
  EXPECT_EQ(json["programs"][0]["name"], "1x1 rows, 1 logit rows, 64 positions");
  EXPECT_THAT(json["programs"][1]["name"].get<std::string>(), StartsWith("zeros, tensor<"));
  EXPECT_TRUE(json["clock_hz"].is_null());
  for (const auto& program : json["programs"]) {
    for (const char* field : {"estimated_cycles", "estimated_seconds", "open_loops"}) {
      ASSERT_TRUE(program.contains(field)) << field;
      EXPECT_TRUE(program[field].is_null()) << field;
    }
    EXPECT_EQ(program["operations"], nlohmann::json::array());
  }
  const ProcessResult none = compile({"--only", "9x9*"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err,
              HasSubstr("--only 9x9*: no program has such a name; there are \"1x1 rows, 1 "
                        "logit rows, 64 positions\", "));
}

// Two slots on each of two devices, though there are three sequences.
TEST_F(CompileCommand, CountsSlotsThatPadAPartOfTheBatch) {
  const auto kv_bytes = [this](const std::vector<std::string>& flags) {
    return compile(flags).json()["per_device"]["kv_bytes"].get<int64_t>();
  };
  EXPECT_EQ(kv_bytes({"--mesh", "data=2", "-np", "3", "--json"}), kv_bytes({"-np", "2", "--json"}));
}

TEST_F(CompileCommand, KeepsLoopsForThoseWhoRunThem) {
  ASSERT_EQ(compile({"--steps-per-call", "4", "-q"}).code, 0);
  const ProcessResult answer =
      run({"run", kModel, "-c", "64", "-ub", "32", "--backend", "pjrt", "--steps-per-call", "4",
           "--temp", "0", "--prompt-ids", "3,4,5,6,7", "-n", "12", "--ignore-eos", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(answer.json()["backend"]["programs"]["compiled"], 0);
  const ProcessResult single =
      run({"run", kModel, "-c", "64", "-ub", "32", "--backend", "pjrt", "--temp", "0",
           "--prompt-ids", "3,4,5,6,7", "-n", "12", "--ignore-eos", "--json"});
  ASSERT_EQ(single.code, 0) << single.err;
  EXPECT_EQ(answer.json()["ids"], single.json()["ids"]);
}

TEST_F(CompileCommand, SaysWhatEachProgramNeeds) {
  const ProcessResult result = compile({"-t", "2"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("program"));
  EXPECT_THAT(result.out, HasSubstr("\n1x1 rows, 1 logit rows, 64 positions"));
  EXPECT_THAT(result.out, HasSubstr("\n1x32 rows, 1 logit rows, 64 positions"));
  EXPECT_THAT(result.err, HasSubstr(" compiled, 0 loaded in "));
  EXPECT_THAT(result.err, HasSubstr("kept in " + folder_.file("compiled")));
}

TEST_F(CompileCommand, OptionsAreOtherPrograms) {
  ASSERT_EQ(compile({"-q"}).code, 0);
  const auto json = compile({"--json", "--xla-option", "xla_backend_optimization_level=0"}).json();
  EXPECT_EQ(json["compiled"], json["programs"].size());
  const ProcessResult unknown = compile({"--xla-option", "xla_no_such_option=1"});
  EXPECT_EQ(unknown.code, 5);
  EXPECT_THAT(unknown.err, HasSubstr("xla_no_such_option"));
}

TEST_F(CompileCommand, WhatASurelyTooLargeModelNeedsIsTheError) {
  const std::string config = DUNLIN_SOURCE_DIR "/docs/planning/llama-3.1-70b.json";
  for (const char* topology : {"h100", "v5e:1x1"}) {
    const ProcessResult result = run({"compile", config, "--topology", topology});
    EXPECT_EQ(result.code, 4) << topology;
    // 70.55e9 parameters in bf16.
    EXPECT_THAT(result.err, HasSubstr("(weights of 131.4")) << topology;
    EXPECT_THAT(result.err, HasSubstr("a KV cache of 2.50 GiB)")) << topology;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(CompileCommand, WrongTopologiesAreRefused) {
  for (const char* topology :
       {"npu", "v5e", "v5e:4", "v5e:0x1", "v5e:1x1x1x1", "v:1x1", "h100:2"}) {
    const ProcessResult result = compile({"--topology", topology});
    EXPECT_EQ(result.code, 2) << topology;
    EXPECT_THAT(result.err, HasSubstr(topology));
  }
  const ProcessResult slice = compile({"--topology", "v5e:4x4"});
  EXPECT_EQ(slice.code, 5);
  EXPECT_THAT(slice.err, HasSubstr("it has 16 devices, and --mesh data=1 has 1"));
  EXPECT_EQ(compile({"--topology", "v5e:4x4", "--mesh", "model=4"}).code, 5);
  for (const char* mesh : {"model", "tensor=2", "stage=2", ""})
    EXPECT_EQ(compile({"--mesh", mesh}).code, 2) << mesh;
  EXPECT_EQ(compile({"-c", "100k"}).code, 2);
  EXPECT_EQ(compile({"--device", "/no/plugin.so"}).code, 5);
  EXPECT_EQ(compile({"--topology", "v5e:1x1", "--device", "/no/plugin.so"}).code, 5);
  EXPECT_EQ(run({"compile", "/no/such/model"}).code, 3);
}

// Whatever is wrong with the kept programs, the answer comes.
TEST_F(CompileCommand, DamagedProgramsAreMadeAgain) {
  ASSERT_EQ(compile({"-q"}).code, 0);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.file("compiled")))
    std::filesystem::resize_file(entry.path(), 100);
  const ProcessResult result = compile({"--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["loaded"], 0);
  EXPECT_THAT(result.err, HasSubstr("warning: a program is compiled again: "));
  EXPECT_EQ(compile({"--json"}).json()["compiled"], 0);
}

}  // namespace
}  // namespace dunlin

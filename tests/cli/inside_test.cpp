// Looking inside, as processes: --watch, --until, --disable, --bisect and --layers.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "engine/optimizations.h"
#include "parity/array_file.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

const std::string kModel = test_data("data/llama_plain/model");
const std::string kGolden = test_data("data/llama_plain/golden.safetensors");

Arguments joined(Arguments first, const Arguments& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

ProcessResult run_with(const Arguments& flags) {
  return run_dunlin(joined({"run", kModel, "--prompt-ids", "3,4,5,6", "-n", "4", "--temp", "0",
                            "--ignore-eos", "--json"},
                           flags));
}

TEST(WatchFlag, PrintsStatisticsOfEveryStepAndLeavesTheAnswer) {
  const ProcessResult plain = run_with({});
  const ProcessResult result = run_with({"--watch", "layers.1.feed_forward.*,layers.0.add"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["ids"], plain.json()["ids"]);
  EXPECT_THAT(result.err, HasSubstr("watching 5 values; fusions this prevents:\n"
                                    "  gated_linears of layers.1.feed_forward.gated\n"
                                    "  residual_add of layers.1.add_2\n"));
  for (const char* part : {"step 1, 4 rows", "step 2, 1 rows", "step 4, 1 rows", "absmax",
                           "layers.1.feed_forward.up_proj", "layers.0.add"}) {
    EXPECT_THAT(result.err, HasSubstr(part));
  }
  EXPECT_THAT(result.err, testing::Not(HasSubstr("step 5")));
}

TEST(WatchFlag, UntilStopsWithTheNodeAndItsLine) {
  const ProcessResult result = run_with({"--watch", "layers.1.*", "--until", "absmax>1e-3", "-q"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err,
              HasSubstr("error: layers.1.rms_norm (rms_norm) met absmax>1e-3 in step 1"));
  EXPECT_THAT(result.err, ContainsRegex("src/models/llama.cpp:[0-9]+"));
  const ProcessResult never = run_with({"--watch", "*", "--until", "nonfinite", "-q"});
  EXPECT_EQ(never.code, 0) << never.err;
  EXPECT_EQ(never.err, "");
}

// The file with a number that is none among the weights of a tensor: its first four bytes are a NaN as
// float32, and their second half is one as bf16 and as f16.
void spoil(const std::string& file, const std::string& tensor) {
  std::string bytes = read_all(file);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const auto tensors = nlohmann::json::parse(bytes.substr(8, header));
  const uint64_t offset = tensors.at(tensor).at("data_offsets").at(0).get<uint64_t>();
  bytes.replace(8 + header + offset, 4, std::string("\0\0\xC0\x7F", 4));
  write_all(file, bytes);
}

TEST(WatchFlag, UntilNonfiniteNamesTheFirstNodeThatIsNot) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  spoil(folder.file("model.safetensors"), "model.layers.1.mlp.down_proj.weight");
  const Arguments run = {"run", folder.path(), "--prompt-ids", "3,4,5", "-n", "2", "-q"};
  const ProcessResult plain = run_dunlin(run);
  EXPECT_EQ(plain.code, 1);
  EXPECT_THAT(plain.err, HasSubstr("hold a NaN or an infinity"));
  const Arguments until = {"--watch", "*", "--until", "nonfinite"};
  const char* const first = "error: layers.1.feed_forward.down_proj (linear) met nonfinite";
  const ProcessResult watched = run_dunlin(joined(run, until));
  EXPECT_EQ(watched.code, 1);
  EXPECT_THAT(watched.err, testing::StartsWith(first));
  EXPECT_THAT(watched.err, testing::Not(HasSubstr("hold a NaN")));
  EXPECT_THAT(watched.err, ContainsRegex("recorded at src/models/llama.cpp:[0-9]+\n"));
  // eval says how to find it.
  write_all(folder.file("text.txt"), "Hello to the whole world, and once more to all of it.");
  const Arguments eval = {"eval", folder.path(), folder.file("text.txt"), "-c", "8", "-q"};
  const ProcessResult scored = run_dunlin(eval);
  EXPECT_EQ(scored.code, 1);
  EXPECT_THAT(scored.err, HasSubstr("are not finite; --watch '*' --until nonfinite names the "
                                    "first node"));
  EXPECT_THAT(run_dunlin(joined(eval, until)).err, testing::StartsWith(first));
}

TEST(WatchFlag, WorksInVerify) {
  const ProcessResult result = run_dunlin(
      {"verify", kModel, "--ref", kGolden, "--watch", "layers.0.attend.q_proj", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["pass"], true);
  EXPECT_THAT(result.err, HasSubstr("layers.0.attend.q_proj"));
  const ProcessResult hit =
      run_dunlin({"verify", kModel, "--ref", kGolden, "--watch", "embed", "--until", "max>-1e9"});
  EXPECT_EQ(hit.code, 1);
  EXPECT_THAT(hit.err, HasSubstr("error: embed (embed) met max>-1e9 in step 1"));
}

TEST(DisableFlag, ChangesKernelsButNoResult) {
  const ProcessResult plain = run_with({});
  const ProcessResult without = run_with({"--disable", "simd_rms_norm,rope_attention"});
  ASSERT_EQ(without.code, 0) << without.err;
  EXPECT_EQ(without.json()["ids"], plain.json()["ids"]);
  const auto kernels = without.json()["backend"]["kernels"];
  EXPECT_EQ(kernels["rms_norm"], "rms_norm_f32_scalar");
  EXPECT_TRUE(kernels.contains("attention")) << kernels.dump();
  const ProcessResult none = run_with({"--disable", "all"});
  EXPECT_EQ(none.json()["ids"], plain.json()["ids"]);
  const auto unfused = none.json()["backend"]["kernels"];
  for (const auto& [operation, kernel] : unfused.items())
    EXPECT_THAT(operation, testing::Not(HasSubstr("+"))) << "a fusion";
}

TEST(DisableFlag, AnUnknownNameIsAUsageErrorWithTheNearest) {
  const std::vector<Arguments> commands = {
      {"run", kModel, "--prompt-ids", "3"},
      {"chat", kModel},
      {"bench", "model", kModel, "-p", "4", "-n", "0", "-r", "1"},
      {"verify", kModel, "--ref", kGolden},
  };
  for (const Arguments& command : commands) {
    const ProcessResult result =
        run_dunlin(joined(command, {"--disable", "memory_reuse,shared_inputs"}));
    EXPECT_EQ(result.code, 2) << fmt::format("{}", fmt::join(command, " "));
    EXPECT_THAT(result.err,
                HasSubstr("--disable: shared_inputs: there is no such optimisation; did "
                          "you mean shared_input?"));
  }
}

TEST(DisableFlag, IsTakenByEveryCommandThatLoadsAModel) {
  EXPECT_EQ(run_dunlin({"verify", kModel, "--ref", kGolden, "--disable", "all"}).code, 0);
  const ProcessResult bench = run_dunlin({"bench", "model", kModel, "-p", "4", "-n", "1", "-r", "1",
                                          "--disable", "simd_rms_norm", "-o", "json"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  EXPECT_THAT(bench.out, HasSubstr("rms_norm_f32_scalar"));
  const ProcessResult by_environment =
      run_dunlin({"run", kModel, "--prompt-ids", "3", "-n", "1", "--json"},
                 {.environment = {{"DUNLIN_ARG_DISABLE", "simd_rms_norm"}}});
  EXPECT_EQ(by_environment.json()["backend"]["kernels"]["rms_norm"], "rms_norm_f32_scalar");
}

TEST(Help, ListsTheOptimizations) {
  const ProcessResult result = run_dunlin({"help", "optimizations"});
  EXPECT_EQ(result.code, 0);
  for (const Optimization& each : all_optimizations()) {
    EXPECT_THAT(result.out, HasSubstr("\n  " + each.name + " ")) << each.name;
    EXPECT_THAT(result.out, HasSubstr(each.brings + "\n"));
  }
  EXPECT_THAT(result.out, HasSubstr("\n  precision "));
  EXPECT_THAT(run_dunlin({"help", "optimisation"}).err, HasSubstr("did you mean optimizations?"));
}

TEST(BisectFlag, SaysWhatIsToBlame) {
  const ProcessResult good = run_dunlin({"verify", kModel, "--ref", kGolden, "--bisect", "--json"});
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_FALSE(good.json().contains("bisection"));

  const TemporaryFolder folder;
  const auto file = ArrayFile::open(kGolden).value();
  std::map<std::string, Array> arrays;
  for (const char* name : {"input_ids", "logits"}) arrays[name] = file.read(name).value();
  arrays["logits"].floats[3] += 1.0f;
  const std::string wrong = folder.file("wrong.safetensors");
  ASSERT_TRUE(write_array_file(wrong, arrays).ok());
  const ProcessResult bad = run_dunlin({"verify", kModel, "--ref", wrong, "--bisect", "--json"});
  EXPECT_EQ(bad.code, 6) << bad.err;
  const auto bisection = bad.json()["bisection"];
  EXPECT_TRUE(bisection["culprits"].empty());
  EXPECT_EQ(bisection["reference_passes"], false);
  EXPECT_EQ(bisection["comparisons"], 2);
  const ProcessResult text = run_dunlin({"verify", kModel, "--ref", wrong, "--bisect"});
  EXPECT_EQ(text.code, 6);
  EXPECT_THAT(text.out, HasSubstr("no optimisation is to blame"));
}

TEST(LayersFlag, TruncatesInEveryCommandThatLoadsAModel) {
  EXPECT_NE(run_with({"--layers", "1"}).json()["ids"], run_with({}).json()["ids"]);
  EXPECT_EQ(run_with({"--layers", "2"}).json()["ids"], run_with({}).json()["ids"]);
  EXPECT_EQ(run_with({"--layers", "0"}).json()["ids"].size(), 4u);

  const auto verify = [](const std::string& layers) {
    return run_dunlin({"verify", kModel, "--ref", kGolden, "--layers", layers, "--json"});
  };
  EXPECT_EQ(verify("1").code, 0);
  EXPECT_LT(verify("1").json()["checked"], verify("2").json()["checked"]);
  EXPECT_EQ(verify("0").json()["checked"], 1) << "hidden.0";

  const TemporaryFolder folder;
  write_text_model(folder.path());
  const auto chat = [&](const std::string& layers) {
    return run_dunlin({"chat", folder.path(), "--layers", layers, "-n", "8", "--temp", "0",
                       "--ignore-eos", "--json", "-q"},
                      {.text = "Hello\n"});
  };
  ASSERT_EQ(chat("1").code, 0) << chat("1").err;
  EXPECT_NE(chat("1").json()["ids"], chat("2").json()["ids"]);

  // Operations of a prompt: their rate times the time that it took.
  const auto work = [](const std::string& layers) {
    const auto result = run_dunlin({"bench", "model", kModel, "-p", "4", "-n", "0", "-r", "1",
                                    "--layers", layers, "-o", "json"})
                            .json()[0];
    return result["tflops"].get<double>() * result["avg_ns"].get<double>();
  };
  EXPECT_GT(work("1"), 0.0);
  EXPECT_LT(work("1"), 0.8 * work("2"));

  const ProcessResult program = run_dunlin({"inspect", kModel, "--program", "--layers", "1"});
  EXPECT_THAT(program.out, HasSubstr("layers.0."));
  EXPECT_THAT(program.out, testing::Not(HasSubstr("layers.1.")));
}

}  // namespace
}  // namespace dunlin

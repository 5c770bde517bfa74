// -ctk, -ctv and --kv-cache-dtype: what keys and values are kept as, in the commands that load a model.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

const std::string kKvModel = test_data("data/llama_heads_9_3/model");

ProcessResult run_with_types(const Words& more, const ProcessInput& input = {}) {
  Words words = {"run",          kKvModel, "--prompt-ids", "3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
                 "-n",           "12",     "--temp",       "0",
                 "--ignore-eos", "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return run_dunlin(words, input);
}

bool has_kernel(const nlohmann::json& answer, const std::string& beginning) {
  const auto& kernels = answer["backend"]["kernels"];
  return std::any_of(kernels.begin(), kernels.end(), [&beginning](const nlohmann::json& kernel) {
    return kernel.get<std::string>().starts_with(beginning);
  });
}

TEST(KvType, EverySpellingIsTheSameCache) {
  const ProcessResult both = run_with_types({"-ctk", "int8", "-ctv", "int8"});
  ASSERT_EQ(both.code, 0) << both.err;
  EXPECT_TRUE(has_kernel(both.json(), "attention_int8_"));
  EXPECT_TRUE(has_kernel(both.json(), "kv_write_int8_"));
  EXPECT_THAT(both.err, HasSubstr("precision auto, keys and values int8"));
  const std::vector<std::pair<Words, ProcessInput>> spellings = {
      {{"--cache-type-k", "int8", "--cache-type-v", "int8"}, {}},
      {{"--kv-cache-dtype", "int8"}, {}},
      {{}, {.environment = {{"DUNLIN_ARG_KV_CACHE_DTYPE", "int8"}}}},
      {{},
       {.environment = {{"DUNLIN_ARG_CACHE_TYPE_K", "int8"},
                        {"DUNLIN_ARG_CACHE_TYPE_V", "int8"}}}}};
  for (const auto& [more, input] : spellings) {
    const ProcessResult same = run_with_types(more, input);
    ASSERT_EQ(same.code, 0) << same.err;
    EXPECT_TRUE(has_kernel(same.json(), "attention_int8_"));
    EXPECT_EQ(same.json()["ids"], both.json()["ids"]);
  }
}

TEST(KvType, WhatPrintConfigPrintsIsAConfiguration) {
  const TemporaryFolder folder;
  const std::string file = folder.file("again.toml");
  const auto print = [](Words more) {
    more.insert(more.begin(), {"chat", "--print-config"});
    return run_dunlin(more);
  };
  for (const Words& more :
       {Words{}, {"-ctk", "int8", "-ctv", "int8"}, {"--kv-cache-dtype", "int8"}}) {
    const ProcessResult printed = print(more);
    ASSERT_EQ(printed.code, 0) << printed.err;
    EXPECT_EQ(printed.out.find("\"int8\"") != std::string::npos, !more.empty()) << printed.out;
    write_all(file, printed.out);
    const ProcessResult again = print({"--config", file});
    ASSERT_EQ(again.code, 0) << again.err;
    for (const char* name : {"cache-type-k", "cache-type-v", "kv-cache-dtype"}) {
      const std::string setting = fmt::format("{} = \"int8\"", name);
      EXPECT_EQ(again.out.find(setting) != std::string::npos,
                printed.out.find(setting) != std::string::npos)
          << name;
    }
    // The line is stronger, whichever spelling the file has.
    EXPECT_EQ(print({"--config", file, "--kv-cache-dtype", "bf16"}).code, 0);
  }
}

TEST(KvType, AutoIsWhatTheProfileKeeps) {
  for (const Words& more :
       {Words{}, {"-ctk", "auto", "-ctv", "auto"}, {"--kv-cache-dtype", "bf16"}}) {
    const ProcessResult result = run_with_types(more);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(has_kernel(result.json(), "attention_bf16_"));
    EXPECT_THAT(result.err, Not(HasSubstr("keys and values")));
  }
  const ProcessResult f32 = run_with_types({"--precision", "f32", "-ctk", "f32", "-ctv", "f32"});
  ASSERT_EQ(f32.code, 0) << f32.err;
  EXPECT_TRUE(has_kernel(f32.json(), "attention_f32_"));
}

TEST(KvType, IdsAreThoseOfTheReference) {
  for (const char* model : {"llama_heads_9_3", "qwen2_heads_14_2", "gpt_oss_mxfp4"}) {
    const auto ids = [model](const Words& more) {
      Words words = {"run",    test_data(fmt::format("data/{}/model", model)),
                     "-n",     "40",
                     "-s",     "3",
                     "-q",     "--prompt-ids",
                     "3,4,5",  "--ignore-eos",
                     "--json", "--kv-cache-dtype",
                     "int8"};
      words.insert(words.end(), more.begin(), more.end());
      const ProcessResult result = run_dunlin(words);
      EXPECT_EQ(result.code, 0) << result.err;
      return result.json()["ids"];
    };
    const auto wanted = ids({"--backend", "reference"});
    ASSERT_EQ(wanted.size(), 40u);
    EXPECT_EQ(ids({}), wanted) << model;
    EXPECT_EQ(ids({"-t", "2", "--disable", "all"}), wanted) << model;
  }
}

TEST(KvType, WhatCannotBeIsCodeTwo) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"-ctk", "q8_0", "-ctv", "q8_0"},
       "--cache-type-k: \"q8_0\" is not one of auto, bf16, int8, f32"},
      {{"--kv-cache-dtype", "fp8"},
       "--kv-cache-dtype: \"fp8\" is not one of auto, bf16, int8, f32"},
      {{"-ctk", "int8"},
       "--cache-type-k int8 and --cache-type-v auto: keys and values are kept in one type"},
      {{"-ctk", "int8", "-ctv", "bf16"}, "--cache-type-k int8 and --cache-type-v bf16: "},
      {{"-ctk", "int8", "--kv-cache-dtype", "int8"}, "cannot be given together with"},
      {{"--kv-cache-dtype", "int8", "--precision", "f32"},
       "--precision f32 keeps keys and values in f32, not in int8"},
      {{"--kv-cache-dtype", "int8", "--disable", "precision"},
       "--precision f32 keeps keys and values in f32, not in int8"},
      {{"--kv-cache-dtype", "f32"},
       "--precision auto keeps keys and values in bf16 or int8, not in f32"},
      {{"--kv-cache-dtype", "int8", "--backend", "pjrt"},
       "keys and values in int8 need --backend cpu or reference, and this is pjrt"},
  };
  for (const auto& [more, message] : cases) {
    const ProcessResult result = run_with_types(more);
    EXPECT_EQ(result.code, 2) << message << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

TEST(KvType, BenchSaysWhichItWas) {
  for (const auto& [type, flags] : {std::pair<std::string, Words>("bf16", {}),
                                    {"int8", {"-ctk", "int8", "-ctv", "int8"}},
                                    {"f32", {"--precision", "f32"}}}) {
    Words words = {"bench", "model", kKvModel, "-p", "4",  "-n", "2",
                   "-d",    "20",    "-r",     "1",  "-t", "1",  "--json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const ProcessResult result = run_dunlin(words);
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    for (const auto& test : json["results"]) {
      EXPECT_EQ(test["type_k"], type);
      EXPECT_EQ(test["type_v"], type);
    }
  }
  const ProcessResult forward =
      run_dunlin({"bench", "forward", kKvModel, "--batch", "1,2", "--seq-len", "20", "-r", "1",
                  "--kv-cache-dtype", "int8", "--json"});
  ASSERT_EQ(forward.code, 0) << forward.err;
  EXPECT_EQ(forward.json()["kv_type"], "int8");
}

// Exactly what the reference back end computes, tensor by tensor, and not what bf16 does.
TEST(KvType, VerifyComparesWithIt) {
  const TemporaryFolder folder;
  const std::string dump = folder.file("reference.safetensors");
  const auto verify = [](Words more) {
    // One layer of two: what is inside it, and no answer, whose ids would be others in the dump.
    more.insert(more.begin(), {"verify", test_data("data/llama_plain/model"), "--layers", "1",
                               "--precision", "exact", "--json"});
    return run_dunlin(more);
  };
  const std::string golden = test_data("data/llama_plain/golden.safetensors");
  const ProcessResult dumped = verify({"--ref", golden, "--backend", "reference",
                                       "--kv-cache-dtype", "int8", "--tol", "1e9", "--dump", dump});
  ASSERT_EQ(dumped.code, 0) << dumped.err;
  const ProcessResult same = verify({"--ref", dump, "--kv-cache-dtype", "int8", "--tol", "0"});
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  EXPECT_GT(same.json()["checked"].get<int64_t>(), 3);
  EXPECT_EQ(verify({"--ref", dump, "--tol", "0"}).code, 6);
}

TEST(KvType, PlanCountsItsBytes) {
  const auto plan = [](const Words& more) {
    Words words = {"plan", kKvModel, "-c", "128", "-t", "1", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = run_dunlin(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json();
  };
  const auto config = run_dunlin({"inspect", kKvModel, "--json"}).json()["config"];
  const auto head_dim = config["head_dim"].get<int64_t>();
  // The scales of 128 positions, of keys and of values.
  const int64_t scales = config["num_hidden_layers"].get<int64_t>() *
                         config["num_key_value_heads"].get<int64_t>() * 128 * 2 * 4;
  const auto bf16 = plan({});
  const auto int8 = plan({"-ctk", "int8", "-ctv", "int8"});
  EXPECT_EQ(bf16["kv"], "bf16");
  EXPECT_EQ(int8["kv"], "int8");
  EXPECT_EQ(int8["per_device"]["kv_bytes"].get<int64_t>(),
            bf16["per_device"]["kv_bytes"].get<int64_t>() / 2 + scales);
  // What a token reads, without padding: head_dim codes and a scale where there were 2 bytes each.
  const auto read = [](const nlohmann::json& json) {
    return json["decode"]["kv_bytes_read"].get<double>();
  };
  EXPECT_NEAR(read(int8) / read(bf16),
              static_cast<double>(head_dim + 4) / static_cast<double>(2 * head_dim), 1e-9);
  const ProcessResult wrong =
      run_dunlin({"plan", kKvModel, "--kv-cache-dtype", "int8", "--precision", "f32"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--precision f32 keeps keys and values in f32, not in int8"));
}

// Accelerators have more types, and each side its own.
TEST(KvType, PlanOfADeviceTakesOneFlagForBoth) {
  const auto kv_bytes = [](const Words& more) {
    Words words = {"plan",     DUNLIN_SOURCE_DIR "/docs/planning/llama-3.1-8b.json",
                   "--device", "v5e-4",
                   "-c",       "2048",
                   "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = run_dunlin(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()["per_device"]["kv_bytes"].get<int64_t>();
  };
  const int64_t both = kv_bytes({"--kv-cache-dtype", "q8_0"});
  EXPECT_EQ(kv_bytes({"-ctk", "q8_0", "-ctv", "q8_0"}), both);
  EXPECT_LT(both, kv_bytes({}));
  EXPECT_GT(kv_bytes({"-ctk", "q8_0"}), both);
}

class EvalKvType : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(folder_.path());
    std::string text;
    for (int i = 0; i < 60; ++i) text += fmt::format("Line {} says hello to the world.\n", i);
    write_all(text_, text);
  }
  nlohmann::json eval(const Words& more) const {
    Words words = {"eval", folder_.path(), text_, "-c", "64", "--json", "-q"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = run_dunlin(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json();
  }

  TemporaryFolder folder_;
  TemporaryFolder other_;
  std::string text_ = other_.file("text.txt");
};

TEST_F(EvalKvType, TheFlagIsAboutTheModelAndNotItsReference) {
  const auto bf16 = eval({});
  const auto int8 = eval({"--kv-cache-dtype", "int8", "--ref", folder_.path()});
  EXPECT_EQ(bf16["kv_type"], "bf16");
  EXPECT_EQ(int8["kv_type"], "int8");
  EXPECT_EQ(int8["ref_perplexity"], bf16["perplexity"]);
  EXPECT_NE(int8["perplexity"], bf16["perplexity"]);
  EXPECT_GT(int8["kl_mean"].get<double>(), 0.0);
  EXPECT_LT(int8["kl_mean"].get<double>(), 0.1);
  EXPECT_EQ(eval({"--kv-cache-dtype", "int8", "-t", "2", "-ub", "7"})["perplexity"],
            int8["perplexity"]);
}

TEST_F(EvalKvType, TheReferenceMayComputeInFloat32) {
  const auto f32 = eval({"--precision", "f32"});
  const auto int8 =
      eval({"--kv-cache-dtype", "int8", "--ref", folder_.path(), "--ref-precision", "f32"});
  EXPECT_EQ(int8["precision"], "auto");
  EXPECT_EQ(int8["ref_perplexity"], f32["perplexity"]);
  EXPECT_GT(int8["kl_mean"].get<double>(), 0.0);
  const ProcessResult alone =
      run_dunlin({"eval", folder_.path(), text_, "-c", "64", "--ref-precision", "f32"});
  EXPECT_EQ(alone.code, 2);
  EXPECT_THAT(alone.err, HasSubstr("--ref-precision requires --ref"));
}

}  // namespace
}  // namespace dunlin

// load_model: options that make no sense are refused, and what it reads from a checkpoint.
#include "engine/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "engine/kv_options.h"
#include "engine_driver.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

void expect_usage_error(const ModelOptions& options, const std::string& part) {
  const auto model = load_model(tiny_model_path("llama_plain"), options);
  ASSERT_FALSE(model.ok()) << part;
  EXPECT_EQ(model.error().kind, ErrorKind::usage) << model.error().message;
  EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
}

TEST(LoadModel, OptionsOutOfRangeAreUsageErrors) {
  expect_usage_error({.context = -1}, "-1");
  expect_usage_error({.context = 513}, "513");
  expect_usage_error({.sequences = 0}, "0 sequences");
  expect_usage_error({.rows = 0}, "0 rows");
  expect_usage_error({.backend = "gpu"}, "gpu");
  expect_usage_error({.isa = "sse9"}, "sse9");
}

TEST(LoadModel, WhatKeysAndValuesAreKeptAsGoesWithPrecisionAndBackEnd) {
  expect_usage_error({.precision = Precision::f32, .kv_type = KvType::int8}, "not in int8");
  expect_usage_error({.precision = Precision::f32, .kv_type = KvType::bf16}, "not in bf16");
  expect_usage_error({.precision = Precision::exact, .kv_type = KvType::f32}, "not in f32");
  expect_usage_error({.kv_type = KvType::int8, .disabled = {"precision"}}, "--precision f32 keeps");
  expect_usage_error({.backend = "pjrt", .kv_type = KvType::int8},
                     "need --backend cpu or reference");
  const auto type_of = [](const ModelOptions& options) {
    return load_model(tiny_model_path("llama_plain"), options).value()->options.kv_type;
  };
  EXPECT_EQ(type_of({.context = 64}), KvType::bf16);
  EXPECT_EQ(type_of({.precision = Precision::f32, .context = 64}), KvType::f32);
  EXPECT_EQ(type_of({.kv_type = KvType::int8, .context = 64}), KvType::int8);
}

TEST(LoadModel, ACacheInInt8TakesAboutHalf) {
  for (const char* backend : {"cpu", "reference"}) {
    const auto loaded = [backend](KvType type) {
      return load_model(tiny_model_path("llama_plain"),
                        {.backend = backend, .kv_type = type, .context = 64, .sequences = 2})
          .value();
    };
    const auto bf16 = loaded(KvType::bf16);
    const auto int8 = loaded(KvType::int8);
    const auto width = static_cast<uint64_t>(bf16->program.kv_groups.front().head_dim);
    EXPECT_EQ(kv_bytes(*int8) * 2 * width, kv_bytes(*bf16) * (width + 4)) << backend;
    EXPECT_LT(make_kv_memory(*int8, 2).value().state->bytes(),
              make_kv_memory(*bf16, 2).value().state->bytes())
        << backend;
  }
}

TEST(LoadModel, AMissingFileIsNamed) {
  const auto model = load_model(tiny_model_path("no_such_model"), {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::model);
  EXPECT_NE(model.error().message.find("no_such_model"), std::string::npos);
}

// Biases that config.json does not have would be left out of what the model computes.
TEST(LoadModel, AWeightThatTheConfigurationLeavesOutIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::copy(tiny_model_path("llama_tied_bias"), folder.path());
  std::ifstream file(folder.file("config.json"));
  std::string config{std::istreambuf_iterator<char>(file), {}};
  const std::string with = "\"mlp_bias\": true";
  config.replace(config.find(with), with.size(), "\"mlp_bias\": false");
  std::ofstream(folder.file("config.json")) << config;
  const auto model = load_model(folder.path(), {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::model);
  EXPECT_NE(model.error().message.find("_proj.bias is not read by a llama model"),
            std::string::npos)
      << model.error().message;
  EXPECT_TRUE(load_model(tiny_model_path("llama_tied_bias"), {.layers = 1}).ok());
}

// llama_plain as if it were trained for a longer context; of its options the error, and what was read.
struct Refused {
  Error error;
  uint64_t bytes_read = 0;
};

Refused refused(const char* trained, const ModelOptions& options) {
  const TemporaryFolder folder;
  std::filesystem::copy(tiny_model_path("llama_plain"), folder.path());
  std::ifstream file(folder.file("config.json"));
  std::string config{std::istreambuf_iterator<char>(file), {}};
  const std::string found = "\"max_position_embeddings\": 512";
  config.replace(config.find(found), found.size(),
                 std::string("\"max_position_embeddings\": ") + trained);
  std::ofstream(folder.file("config.json")) << config;
  const uint64_t before = file_reads().bytes;
  const auto model = load_model(folder.path(), options);
  const uint64_t read = file_reads().bytes - before;
  EXPECT_FALSE(model.ok());
  return {model.ok() ? Error{} : model.error(), read};
}

// A context that cannot be is refused by the headers: no weight is read, and nothing of its size is
// touched.
TEST(LoadModel, AContextThatNoMemoryHoldsIsRefusedAtOnce) {
  constexpr int64_t kContext = int64_t{1} << 30;
  const auto weights =
      std::filesystem::file_size(tiny_model_path("llama_plain") + "/model.safetensors");
  for (const char* backend : {"cpu", "reference"}) {
    const Refused memory =
        refused("1073741824", {.backend = backend, .context = kContext, .sequences = 1024});
    EXPECT_EQ(memory.error.kind, ErrorKind::does_not_fit) << memory.error.message;
    EXPECT_NE(memory.error.message.find("a KV cache of 1099511627776 positions needs "),
              std::string::npos)
        << memory.error.message;
    EXPECT_NE(memory.error.message.find(" GiB, and this process can have "), std::string::npos);
    EXPECT_LT(memory.bytes_read, weights / 4) << backend;
  }
  const Refused usage = refused("65536", {.context = kContext});
  EXPECT_EQ(usage.error.kind, ErrorKind::usage);
  EXPECT_NE(usage.error.message.find("a context of 1073741824 is more than the 65536 positions"),
            std::string::npos)
      << usage.error.message;
  EXPECT_LT(usage.bytes_read, weights / 4);
}

TEST(LoadModel, ACacheOfItsOwnSharesNoBeginnings) {
  const auto model =
      load_model(tiny_model_path("llama_plain"), {.context = 64, .sequences = 2}).value();
  const KvMemory kv = make_kv_memory(*model, 2).value();
  ASSERT_EQ(kv.state->groups(), 1);
  EXPECT_EQ(kv.state->pages(0), 2 * 64 / kPageTokens);
  const std::vector<int32_t> tokens(40, 1);
  const int32_t slot = kv.cache->open(tokens).value().slot;
  ASSERT_TRUE(kv.cache->reserve(slot, std::ssize(tokens)).ok());
  kv.cache->commit(slot, tokens, RowClass::prompt);
  EXPECT_EQ(kv.cache->cached(tokens), 0);
  EXPECT_EQ(kv.cache->open(tokens).value().cached, 0);
}

TEST(LoadModel, LimitsFollowTheOptions) {
  const auto model =
      load_model(tiny_model_path("llama_plain"), {.context = 64, .sequences = 3, .rows = 512})
          .value();
  EXPECT_EQ(model->limits.context, 64);
  EXPECT_EQ(model->limits.rows, 3 * 64);  // what three sequences can bring at most
  EXPECT_EQ(model->limits.logit_rows, 3);
  EXPECT_EQ(model->limits.sequences, 3);
  EXPECT_EQ(model->trained_context, 512);
  EXPECT_EQ(model->vocabulary, 160);
  EXPECT_EQ(model->text.tokenizer, nullptr);
  const auto encoded = model->text.encode_raw("text");
  ASSERT_FALSE(encoded.ok());
  EXPECT_NE(encoded.error().message.find("tokenizer"), std::string::npos);
}

// A layer with a window holds the window and the rows of a step, whatever the context is.
TEST(LoadModel, WindowedLayersDoNotGrowWithTheContext) {
  const auto pages = [](int64_t context) {
    const auto model = load_model(tiny_model_path("gpt_oss_mxfp4"),
                                  {.context = context, .sequences = 2, .rows = 16})
                           .value();
    return pages_of_groups(kv_cache_options(*model, 2));
  };
  const std::vector<int64_t> of_128 = pages(128);
  const std::vector<int64_t> of_512 = pages(512);
  ASSERT_EQ(of_128.size(), 2u);
  EXPECT_EQ(of_128[0], 2 * 3);  // 8 + 16 positions, and where they begin within a page
  EXPECT_EQ(of_512[0], of_128[0]);
  EXPECT_EQ(of_128[1], 2 * 8);
  EXPECT_EQ(of_512[1], 2 * 32);
}

// The first layer has a window, and is the whole model here.
TEST(LoadModel, ACacheOfWindowsHasTheSameBytesForEveryContext) {
  for (const char* backend : {"cpu", "reference"}) {
    const auto bytes = [backend](int64_t context) {
      EngineDriver driver("gpt_oss_mxfp4",
                          {.backend = backend, .context = context, .rows = 16, .layers = 1});
      return driver.engine().model().kv_bytes;
    };
    EXPECT_GT(bytes(128), 0u) << backend;
    EXPECT_EQ(bytes(512), bytes(128)) << backend;
  }
}

// Far behind the window, in steps of its own size: the ids of a cache that holds everything.
TEST(LoadModel, ALongAnswerOutlivesItsWindow) {
  const auto prompt = golden_ids("gpt_oss_mxfp4", "input_ids");
  EngineDriver small("gpt_oss_mxfp4", {.sequences = 1, .rows = 8});
  EngineDriver large("gpt_oss_mxfp4", {.backend = "reference", .sequences = 1, .rows = 512});
  const Answer wanted = large.answer(greedy(prompt, 200));
  EXPECT_EQ(small.answer(greedy(prompt, 200)).ids, wanted.ids);
  EXPECT_EQ(wanted.ids.size(), 200u);
}

TEST(LoadModel, FewerLayersMakeAnotherModel) {
  const auto prompt = golden_ids("llama_plain", "input_ids");
  EngineDriver whole("llama_plain");
  EngineDriver truncated("llama_plain", {.layers = 1});
  EXPECT_NE(truncated.answer(greedy(prompt, 8)).ids, whole.answer(greedy(prompt, 8)).ids);
}

}  // namespace
}  // namespace dunlin

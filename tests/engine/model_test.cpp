// load_model: options that make no sense are refused, and what it reads from a checkpoint.
#include "engine/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine_driver.h"

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

TEST(LoadModel, AMissingFileIsNamed) {
  const auto model = load_model(tiny_model_path("no_such_model"), {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::model);
  EXPECT_NE(model.error().message.find("no_such_model"), std::string::npos);
}

// Biases that config.json does not have would be left out of what the model computes.
TEST(LoadModel, AWeightThatTheConfigurationLeavesOutIsNamed) {
  const std::string folder = testing::TempDir() + "dunlin_unread_weight";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(tiny_model_path("llama_tied_bias"), folder);
  std::ifstream file(folder + "/config.json");
  std::string config{std::istreambuf_iterator<char>(file), {}};
  const std::string with = "\"mlp_bias\": true";
  config.replace(config.find(with), with.size(), "\"mlp_bias\": false");
  std::ofstream(folder + "/config.json") << config;
  const auto model = load_model(folder, {});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::model);
  EXPECT_NE(model.error().message.find("_proj.bias is not read by a llama model"),
            std::string::npos)
      << model.error().message;
  EXPECT_TRUE(load_model(tiny_model_path("llama_tied_bias"), {.layers = 1}).ok());
  std::filesystem::remove_all(folder);
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

TEST(LoadModel, FewerLayersMakeAnotherModel) {
  const auto prompt = golden_ids("llama_plain", "input_ids");
  EngineDriver whole("llama_plain");
  EngineDriver truncated("llama_plain", {.layers = 1});
  EXPECT_NE(truncated.answer(greedy(prompt, 8)).ids, whole.answer(greedy(prompt, 8)).ids);
}

}  // namespace
}  // namespace dunlin

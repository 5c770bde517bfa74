// Directories of 8-bit weights with scales beside them: every form of scales that is read, and what
// is wrong with such a directory.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/float16.h"
#include "base/log.h"
#include "checkpoint/quantization_config.h"
#include "checkpoint/scale_tensors.h"
#include "formats/float8.h"
#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

using nlohmann::json;

constexpr const char* kQuery = "model.layers.0.self_attn.q_proj.weight";  // [12, 8]

struct StoredQuantized {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using QuantizedTensors = std::map<std::string, StoredQuantized>;

std::string bytes_of(const std::vector<float>& values, const std::string& dtype) {
  std::string bytes;
  for (const float value : values) {
    if (dtype == "F32") bytes.append(reinterpret_cast<const char*>(&value), 4);
    if (dtype == "F8_E4M3") bytes += static_cast<char>(to_float8(kE4M3, value));
    if (dtype == "F8_E5M2") bytes += static_cast<char>(to_float8(kE5M2, value));
    if (dtype == "I8") bytes += static_cast<char>(static_cast<int8_t>(value));
    if (dtype == "BF16") {
      const bfloat16 half = to_bfloat16(value);
      bytes.append(reinterpret_cast<const char*>(&half), 2);
    }
  }
  return bytes;
}

std::string quantized_file_of(const QuantizedTensors& tensors) {
  json header;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data += tensor.bytes;
    header[name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return safetensors_file(header.dump(), data);
}

json fp8(const json& more = json::object()) {
  json config = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"}};
  config.update(more);
  return config;
}

json compressed(const char* type, const char* strategy) {
  const json weights = {
      {"num_bits", 8}, {"type", type}, {"strategy", strategy}, {"symmetric", true}};
  return {{"quant_method", "compressed-tensors"},
          {"format", std::string(type) + "-quantized"},
          {"config_groups",
           {{"group_0", {{"targets", json::array({"Linear"})}, {"weights", weights}}}}},
          {"ignore", {"lm_head", "re:.*vision.*"}}};
}

class QuantizedDirectory : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([this](const std::string& text) { warnings_.push_back(text); });
    for (const auto& [name, tensor] : tiny_tensors(false, false))
      tensors_[name] = {"F32", tensor.shape, bytes_of(tensor.values, "F32")};
  }
  void TearDown() override {
    set_warning_sink([](const std::string&) {});
  }

  // The query matrix as elements 1, 2, .. 7, 1, .. and these scales.
  void quantise(const std::string& dtype, const std::string& scale_name,
                const std::vector<int64_t>& scale_shape, const std::vector<float>& scales,
                const std::string& scale_dtype = "F32") {
    StoredQuantized& query = tensors_[kQuery];
    elements_.resize(96);
    for (size_t i = 0; i < elements_.size(); ++i) elements_[i] = static_cast<float>(1 + i % 7);
    query.dtype = dtype;
    query.bytes = bytes_of(elements_, dtype);
    const std::string module = std::string(kQuery).substr(0, std::string(kQuery).size() - 6);
    tensors_[module + scale_name] = {scale_dtype, scale_shape, bytes_of(scales, scale_dtype)};
  }

  Result<std::unique_ptr<Checkpoint>> open(const json& quantization) const {
    json config = json::parse(tiny_config());
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    std::ofstream(folder_.file("config.json")) << config.dump();
    std::ofstream(folder_.file("model.safetensors"), std::ios::binary)
        << quantized_file_of(tensors_);
    return open_checkpoint(folder_.path());
  }

  // Opens, and reads the query matrix.
  Result<void> read(const json& quantization) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open(quantization));
    const auto view = checkpoint->weight(kQuery);
    return view.ok() ? Result<void>() : view.error();
  }

  void expect_values(const json& quantization, const std::function<float(int, int)>& scale) {
    const auto checkpoint = open(quantization);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    const std::vector<float> values = weight_values(**checkpoint, kQuery);
    for (int row = 0; row < 12; ++row) {
      for (int column = 0; column < 8; ++column) {
        const auto i = static_cast<size_t>(8 * row + column);
        ASSERT_EQ(values[i], elements_[i] * scale(row, column)) << row << " " << column;
      }
    }
    // What is not quantised stays as it was.
    EXPECT_EQ(weight_values(**checkpoint, "lm_head.weight"),
              tiny_tensors(false, false).at("lm_head.weight").values);
  }

  void expect_error(const json& quantization, const std::string& problem) const {
    expect_model_error([&] { return read(quantization); }, folder_.path(), problem);
  }

  static std::vector<float> counting(size_t count, float step = 0.25f) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = step * static_cast<float>(i + 1);
    return values;
  }

  TemporaryFolder folder_;
  QuantizedTensors tensors_;
  std::vector<float> elements_;
  std::vector<std::string> warnings_;
};

TEST_F(QuantizedDirectory, BlocksOfAnySizeWithRaggedEdges) {
  for (const auto& [rows, columns] : {std::pair{5, 3}, std::pair{128, 128}, std::pair{4, 8}}) {
    const int across = (8 + columns - 1) / columns;
    const int down = (12 + rows - 1) / rows;
    quantise("F8_E4M3", "weight_scale_inv", {down, across},
             counting(static_cast<size_t>(down * across)));
    expect_values(fp8({{"weight_block_size", {rows, columns}}}), [&](int row, int column) {
      return 0.25f * static_cast<float>(row / rows * across + column / columns + 1);
    });
  }
}

TEST_F(QuantizedDirectory, AScalePerRowInAnyFloat) {
  for (const char* dtype : {"F32", "BF16"}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{12, 1}, {12}}) {
      quantise("F8_E4M3", "weight_scale", shape, counting(12), dtype);
      const auto scale = [](int row, int) { return 0.25f * static_cast<float>(row + 1); };
      expect_values(compressed("float", "channel"), scale);
      expect_values(fp8(), scale);
    }
  }
}

TEST_F(QuantizedDirectory, AScalePerTensorOfAnyShape) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {1}, {1, 1}}) {
    quantise("F8_E5M2", "weight_scale", shape, {0.5f});
    expect_values(compressed("float", "tensor"), [](int, int) { return 0.5f; });
  }
}

TEST_F(QuantizedDirectory, ScalesOfActivationsAreLeftAsideWithAWord) {
  quantise("F8_E4M3", "weight_scale", {12, 1}, counting(12));
  tensors_["model.layers.0.self_attn.q_proj.input_scale"] = {"F32", {}, bytes_of({3}, "F32")};
  tensors_["model.layers.0.self_attn.k_scale"] = {"F32", {1}, bytes_of({3}, "F32")};
  ASSERT_TRUE(read(fp8({{"activation_scheme", "static"}})).ok());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("scales of activations"), std::string::npos);
}

TEST_F(QuantizedDirectory, TheConfigurationMustSayIt) {
  quantise("F8_E4M3", "weight_scale", {12, 1}, counting(12));
  expect_error(nullptr, "q_proj.weight is in F8_E4M3, and config.json has no quantization_config");
  expect_error(compressed("int", "channel"), "is in F8_E4M3, but quantization_config says int");
  expect_error(fp8({{"modules_to_not_convert", json::array({"model.layers.0.self_attn.q_proj"})}}),
               "calls model.layers.0.self_attn.q_proj plain");
}

TEST_F(QuantizedDirectory, ScalesMustBeThereAndFit) {
  const std::string module = "model.layers.0.self_attn.q_proj.";
  quantise("F8_E4M3", "weight_scale", {12, 1}, counting(12));
  expect_error(fp8({{"weight_block_size", {128, 128}}}),
               module + "weight_scale_inv with its scales is missing");
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{11, 1}, {1, 12}, {12, 2}, {0}}) {
    size_t count = 1;
    for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
    quantise("F8_E4M3", "weight_scale", shape, counting(count));
    expect_error(fp8(), module + "weight_scale has the shape");
  }
  quantise("F8_E4M3", "weight_scale_inv", {1, 2}, counting(2));
  expect_error(fp8({{"weight_block_size", {128, 128}}}), "have [1, 1]");
  quantise("F8_E4M3", "weight_scale", {12, 1}, counting(12), "F8_E4M3");
  expect_error(fp8(), module + "weight_scale holds scales in F8_E4M3");
  tensors_[module + "weight_scale"] = {"U8", {12, 1}, std::string(12, '\x7f')};
  expect_error(fp8(), module + "weight_scale holds scales in U8");
}

// A tensor without elements may have any extent beside the one that is 0: their blocks are counted
// without a sum that leaves 64 bits.
TEST_F(QuantizedDirectory, ExtentsOfAnySizeAreCountedInBlocks) {
  quantise("F8_E4M3", "weight_scale_inv", {1, 1}, counting(1));
  tensors_[kQuery] = {"F8_E4M3", {std::numeric_limits<int64_t>::max(), 0}, ""};
  expect_error(fp8({{"weight_block_size", {128, 128}}}), "have [72057594037927936, 0]");
}

TEST_F(QuantizedDirectory, AScaleIsAPositiveNormalNumber) {
  for (const float wrong : {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(), 1e-41f}) {
    auto scales = counting(12);
    scales[7] = wrong;
    quantise("F8_E4M3", "weight_scale", {12, 1}, scales);
    expect_error(fp8(), "q_proj.weight_scale holds ");
    expect_error(fp8(), " at 7; a scale is a positive number");
  }
}

TEST_F(QuantizedDirectory, OtherTensorsInEightBitsAreRefused) {
  quantise("I8", "weight_scale", {12, 1}, counting(12));
  expect_error(compressed("int", "channel"), "has rows of 8, which are not whole groups of 32");
  quantise("F8_E4M3", "weight_scale", {12, 1}, counting(12));
  StoredQuantized& norm = tensors_["model.norm.weight"];
  norm = {"F8_E4M3", {8}, bytes_of(counting(8), "F8_E4M3")};
  expect_error(fp8(), "model.norm.weight is in F8_E4M3 and is no matrix");
}

// A scale beside numbers that are plain says that they are not what the model computes with.
TEST_F(QuantizedDirectory, ScalesOfPlainWeightsAreRefused) {
  tensors_["model.layers.0.self_attn.k_proj.weight_scale"] = {
      "F32", {12, 1}, bytes_of(counting(12), "F32")};
  expect_error(fp8(), "k_proj.weight_scale is not part of a llama model");
}

// ---- quantization_config alone ----

void expect_quantization_error(const json& quantization, const std::string& problem) {
  const json document = {{"quantization_config", quantization}};
  const auto read = read_quantization_config(document, "config.json");
  ASSERT_FALSE(read.ok()) << quantization;
  EXPECT_EQ(read.error().kind, ErrorKind::model);
  EXPECT_EQ(read.error().message.substr(0, 12), "config.json:");
  EXPECT_NE(read.error().message.find(problem), std::string::npos) << read.error().message;
}

TEST(QuantizationConfig, WhatIsMissingIsNothing) {
  for (const json& document : {json::object(), json{{"quantization_config", nullptr}}})
    EXPECT_FALSE(read_quantization_config(document, "config.json")->has_value());
}

TEST(QuantizationConfig, BothMethodsAreRead) {
  json block = compressed("float", "block");
  block["config_groups"]["group_0"]["weights"]["block_structure"] = {128, 64};
  for (const json& config : {fp8({{"weight_block_size", {128, 64}}}), block}) {
    const auto read = read_quantization_config({{"quantization_config", config}}, "config.json");
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ((*read)->block_rows, 128);
    EXPECT_EQ((*read)->block_columns, 64);
    EXPECT_FALSE((*read)->integer);
  }
  const auto integers = read_quantization_config(
      {{"quantization_config", compressed("int", "channel")}}, "config.json");
  EXPECT_TRUE((*integers)->integer);
  EXPECT_EQ((*integers)->block_rows, 0);
  EXPECT_EQ((*integers)->plain_modules, (std::vector<std::string>{"lm_head", "re:.*vision.*"}));
}

TEST(QuantizationConfig, WhatIsNotSupportedIsNamed) {
  expect_quantization_error("fp8", "quantization_config is not an object");
  expect_quantization_error(json::object(), "quant_method is not a text");
  for (const char* method : {"awq", "gptq", "bitsandbytes", "modelopt"})
    expect_quantization_error({{"quant_method", method}},
                              fmt::format("quant_method \"{}\"", method));
  expect_quantization_error(fp8({{"fmt", "e3m4"}}), "fmt \"e3m4\" is not supported");
  for (const json& block : {json({128}), json({128, -1}), json({128, 0}), json("128"),
                            json({1.5, 128}), json({1, 1 << 20})})
    expect_quantization_error(fp8({{"weight_block_size", block}}),
                              "weight_block_size is not a list of two");
  expect_quantization_error(fp8({{"modules_to_not_convert", json::array({1})}}),
                            "is not a list of texts");
  expect_quantization_error(fp8({{"modules_to_not_convert", "lm_head"}}), "is not a list");

  const auto weights = [](const char* key, const json& value) {
    json config = compressed("int", "channel");
    config["config_groups"]["group_0"]["weights"][key] = value;
    return config;
  };
  expect_quantization_error(weights("num_bits", 4), "num_bits is not 8");
  expect_quantization_error(weights("symmetric", false), "symmetric is false");
  expect_quantization_error(weights("type", "nvfp"), "type \"nvfp\" is not supported");
  expect_quantization_error(weights("strategy", "group"), "strategy \"group\" is not supported");
  expect_quantization_error(weights("strategy", "block"), "supported: tensor, channel");
  json config = compressed("int", "channel");
  config["format"] = "pack-quantized";
  expect_quantization_error(config, "format \"pack-quantized\" is not supported");
  config = compressed("int", "channel");
  config["config_groups"]["group_1"] = config["config_groups"]["group_0"];
  config["config_groups"]["group_1"]["weights"]["strategy"] = "tensor";
  expect_quantization_error(config, "groups with different weights");
  for (const json& groups : {json(), json::object(), json::array({1}), json("all")}) {
    config["config_groups"] = groups;
    expect_quantization_error(config, "config_groups is not an object with a group");
  }
  config = compressed("int", "channel");
  config["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
  expect_quantization_error(config, "sparsity_config is not supported");
}

}  // namespace
}  // namespace dunlin

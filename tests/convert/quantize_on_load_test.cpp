// Matrices encoded while they are read have the bits of the file that `dunlin quantize` writes; and
// the directories it writes for types whose scales lie beside the elements.
#include "convert/quantize_on_load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>

#include "base/float16.h"
#include "base/log.h"
#include "checkpoint/families.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/gguf_names.h"
#include "checkpoint/gguf_writer.h"
#include "convert/choose_formats.h"
#include "convert/gguf_header.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "support/conversion.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

Bytes rows_of(const WeightView& view, int64_t first, int64_t count) {
  Bytes bytes(static_cast<size_t>(count * view.bytes_per_row()));
  if (!view.read_rows(first, count, bytes).ok()) throw std::runtime_error(view.name);
  return bytes;
}

std::vector<float> values_of(const WeightView& view) {
  std::vector<float> values(static_cast<size_t>(view.rows * view.columns));
  view.row_form().decode(rows_of(view, 0, view.rows).data(), view.rows, values.data());
  return values;
}

class QuantizeOnLoad : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  // What `dunlin quantize` writes; the path.
  std::string quantise(const std::string& in, const QuantizeType& type, int threads = 2) const {
    const auto checkpoint = open(in);
    const auto pool = ThreadPool::create(threads);
    std::string out = folder_.file("out");
    fs::remove_all(out);
    if (type.is_scaled()) {
      std::vector<Fallback> fallbacks;
      const auto tensors = scaled_hf_tensors(*checkpoint, {.type = &type}, fallbacks);
      EXPECT_TRUE(tensors.ok()) << tensors.error().message;
      const auto done = write_hf(*checkpoint, *tensors, out, 1 << 20, **pool, nothing);
      EXPECT_TRUE(done.ok()) << done.error().message;
      return out;
    }
    auto tensors = gguf_tensors(*checkpoint).value();
    EXPECT_TRUE(choose_formats(checkpoint->config(), {.type = &type}, tensors).ok());
    EXPECT_TRUE(write_gguf(*checkpoint, tensors, {}, out, **pool, nothing).ok());
    return out;
  }

  TemporaryFolder folder_;
};

std::string model(const std::string& name, const char* container) {
  return test_data(fmt::format("data/{}/{}", name, container));
}

TEST_F(QuantizeOnLoad, EveryTypeHasTheBitsOfTheFileThatQuantizeWrites) {
  for (const char* name : {"llama_plain", "qwen2_tied"}) {
    for (const char* container : {"model", "model.gguf"}) {
      for (const QuantizeType& type : quantize_types()) {
        const auto written = open(quantise(model(name, container), type));
        const auto loaded = quantize_on_load(open(model(name, container)), type.name);
        ASSERT_TRUE(loaded.ok()) << loaded.error().message;
        for (const TensorInfo& tensor : written->tensors()) {
          if (tensor.canonical_name.empty()) continue;
          const std::string what =
              fmt::format("{} {} {} {}", name, container, type.name, tensor.canonical_name);
          const WeightView expected = written->weight(tensor.canonical_name).value();
          const WeightView view = (*loaded)->weight(tensor.canonical_name).value();
          if (view.rows == 1) {  // a vector, which GGUF files have in F32
            EXPECT_EQ(values_of(view), values_of(expected)) << what;
            continue;
          }
          ASSERT_EQ(view.format, expected.format) << what;
          ASSERT_EQ(view.scale_columns, expected.scale_columns) << what;
          EXPECT_TRUE(rows_of(view, 0, view.rows) == rows_of(expected, 0, view.rows)) << what;
          EXPECT_TRUE(rows_of(view, 3, 7) == rows_of(expected, 3, 7)) << what;
        }
      }
    }
  }
}

TEST_F(QuantizeOnLoad, TheTableOfTensorsTellsTheNewFormats) {
  const auto original = open(model("llama_plain", "model.gguf"));
  const auto loaded = quantize_on_load(open(model("llama_plain", "model.gguf")), "q8_0").value();
  for (size_t i = 0; i < loaded->tensors().size(); ++i) {
    const TensorInfo& tensor = loaded->tensors()[i];
    const bool matrix = tensor.shape.size() > 1;
    EXPECT_EQ(tensor.format, matrix ? Format::q8_0 : Format::f32) << tensor.name;
    if (!matrix) continue;
    EXPECT_EQ(tensor.bytes * 32, original->tensors()[i].bytes / 4 * 34) << tensor.name;
    Bytes all(tensor.bytes);
    ASSERT_TRUE(loaded->source(i)->read_at(tensor.offset, all).ok());
    // Any piece is a piece of the whole.
    Bytes piece(101);
    ASSERT_TRUE(loaded->source(i)->read_at(33, piece).ok());
    EXPECT_TRUE(std::equal(piece.begin(), piece.end(), all.begin() + 33));
    EXPECT_FALSE(loaded->source(i)->read_at(tensor.bytes - 3, piece).ok());
  }
  EXPECT_NE(*fingerprint(*loaded), *fingerprint(*original));
}

// The model in F32 as a GGUF file that has gate and up of each mixture in one tensor.
void write_merged(const Checkpoint& checkpoint, const std::string& path) {
  const StoredFamily* const family = stored_family(checkpoint.config()).value();
  GgufWriter writer = GgufWriter::create(path).value();
  if (!add_gguf_header(checkpoint, writer).ok()) throw std::runtime_error(path);
  std::vector<float> data;
  for (const WeightInfo& weight : checkpoint.weights()) {
    std::string name = gguf_tensor_name(*family, weight.name).value();
    if (name.find("ffn_up_exps") != std::string::npos) continue;
    std::vector<int64_t> shape = weight.shape;
    const std::vector<float> values = values_of(checkpoint.weight(weight.name).value());
    const size_t gate = name.find("ffn_gate_exps");
    if (gate == std::string::npos) {
      data.insert(data.end(), values.begin(), values.end());
    } else {
      name.replace(gate, std::string("ffn_gate").size(), "ffn_gate_up");
      std::string other = weight.name;
      other.replace(other.find("gate_proj"), std::string("gate_proj").size(), "up_proj");
      const std::vector<float> up = values_of(checkpoint.weight(other).value());
      const auto each = std::ssize(values) / shape[0];
      for (int64_t expert = 0; expert < shape[0]; ++expert) {
        for (const std::vector<float>* part : {&values, &up}) {
          data.insert(data.end(), part->begin() + expert * each,
                      part->begin() + (expert + 1) * each);
        }
      }
      shape[1] *= 2;
    }
    writer.add_tensor(name, shape, Format::f32);
  }
  if (!writer.begin_data().ok() || !writer.write(std::as_bytes(std::span(data))).ok() ||
      !writer.finish().ok())
    throw std::runtime_error(path);
}

TEST_F(QuantizeOnLoad, WeightsThatShareATensorAreEncodedToo) {
  const std::string merged = folder_.file("merged.gguf");
  write_merged(*open(model("gpt_oss_bf16", "model.gguf")), merged);
  const auto apart = quantize_on_load(open(model("gpt_oss_bf16", "model.gguf")), "Q8_0").value();
  const auto loaded = quantize_on_load(open(merged), "Q8_0");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  ASSERT_EQ((*loaded)->weights().size(), apart->weights().size());
  int encoded = 0;
  for (const WeightInfo& weight : apart->weights()) {
    const WeightView expected = apart->weight(weight.name).value();
    const WeightView view = (*loaded)->weight(weight.name).value();
    ASSERT_EQ(view.format, expected.format) << weight.name;
    EXPECT_TRUE(rows_of(view, 0, view.rows) == rows_of(expected, 0, view.rows)) << weight.name;
    const bool expert = weight.name.find("experts.") != std::string::npos;
    if (expert && view.format == Format::q8_0) ++encoded;
  }
  EXPECT_EQ(encoded, 2 * 2);  // gate and up of two layers; rows of down are no whole blocks
}

TEST_F(QuantizeOnLoad, TypesOfDirectoriesHaveNoFormForExperts) {
  for (const char* container : {"model", "model.gguf"}) {
    const auto loaded = quantize_on_load(open(model("gpt_oss_bf16", container)), "INT8");
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().kind, ErrorKind::usage);
    EXPECT_THAT(loaded.error().message, HasSubstr("--quantize I8: experts of a gpt_oss model"));
  }
}

TEST_F(QuantizeOnLoad, WhatIsQuantisedAlreadyIsRefused) {
  for (const char* type : {"Q8_0", "F8_E4M3"}) {
    const std::string quantised =
        quantise(model("llama_plain", "model"), *find_quantize_type(type));
    for (const char* again : {"Q4_0", "I8"}) {
      const auto loaded = quantize_on_load(open(quantised), again);
      ASSERT_FALSE(loaded.ok());
      EXPECT_EQ(loaded.error().kind, ErrorKind::usage);
      EXPECT_THAT(loaded.error().message, HasSubstr(" is quantised already (the tensor "));
    }
  }
  const auto unknown = quantize_on_load(open(model("llama_plain", "model")), "Q9");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_THAT(unknown.error().message, HasSubstr("the types are Q4_K_M"));
}

// ---- directories ----

class ScaledDirectory : public QuantizeOnLoad {
 protected:
  static nlohmann::json config_of(const std::string& folder) {
    std::ifstream file(folder + "/config.json");
    return nlohmann::json::parse(file);
  }
};

TEST_F(ScaledDirectory, ElementsAndScalesAreThoseOfTheRows) {
  const auto original = open(model("llama_plain", "model"));
  for (const char* name : {"I8", "F8_E4M3", "F8_E4M3_B128", "F8_E5M2"}) {
    const QuantizeType& type = *find_quantize_type(name);
    const auto written = open(quantise(model("llama_plain", "model"), type));
    int scaled = 0;
    for (const TensorInfo& tensor : original->tensors()) {
      const WeightView from = original->weight(tensor.canonical_name).value();
      const WeightView view = written->weight(tensor.canonical_name).value();
      const std::vector<float> values = values_of(from);
      if (view.scale_columns == 0) {
        EXPECT_EQ(view.format, from.format);
        EXPECT_EQ(values_of(view), values) << tensor.name;
        continue;
      }
      ++scaled;
      EXPECT_EQ(view.format, *type.format);
      const int64_t rows = std::max<int64_t>(1, type.scale_block);
      EXPECT_EQ(view.scale_columns, type.scale_block > 0 ? 128 : view.columns);
      RowForm form = view.row_form();
      std::vector<float> scales(static_cast<size_t>(form.scales()));
      Bytes row(static_cast<size_t>(form.bytes()));
      for (int64_t i = 0; i < view.rows; ++i) {
        const int64_t first = i / rows * rows;
        form.find_scales(values.data() + first * view.columns, std::min(rows, view.rows - first),
                         scales.data());
        form.encode(values.data() + i * view.columns, scales.data(), row.data());
        ASSERT_TRUE(rows_of(view, i, 1) == row) << name << " " << tensor.name << " " << i;
      }
    }
    EXPECT_EQ(scaled, 14) << name;  // seven matrices of each layer
  }
}

TEST_F(ScaledDirectory, TheBytesDoNotDependOnTheThreads) {
  for (const char* name : {"I8", "F8_E4M3_B128"}) {
    std::vector<std::string> contents;
    for (const int threads : {1, 3}) {
      const std::string out =
          quantise(model("llama_plain", "model.gguf"), *find_quantize_type(name), threads);
      std::ifstream file(out + "/model.safetensors", std::ios::binary);
      contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    EXPECT_FALSE(contents[0].empty());
    EXPECT_TRUE(contents[0] == contents[1]) << name;
  }
}

TEST_F(ScaledDirectory, ConfigurationsAreWhatOtherProgramsRead) {
  auto config = config_of(quantise(model("llama_plain", "model"), *find_quantize_type("I8")));
  EXPECT_EQ(config["quantization_config"]["quant_method"], "compressed-tensors");
  EXPECT_EQ(config["quantization_config"]["format"], "int-quantized");
  EXPECT_EQ(config["quantization_config"]["ignore"], nlohmann::json::array({"lm_head"}));
  config = config_of(quantise(model("llama_plain", "model.gguf"), *find_quantize_type("FP8")));
  EXPECT_EQ(config["quantization_config"]["format"], "float-quantized");
  config = config_of(quantise(model("llama_plain", "model"), *find_quantize_type("FP8_BLOCK")));
  EXPECT_EQ(config["quantization_config"]["quant_method"], "fp8");
  EXPECT_EQ(config["quantization_config"]["weight_block_size"], nlohmann::json({128, 128}));
  EXPECT_EQ(config["quantization_config"]["modules_to_not_convert"],
            nlohmann::json::array({"lm_head"}));
}

// Keys that nothing here reads, and the files beside config.json.
TEST_F(ScaledDirectory, TheRestOfADirectoryIsKept) {
  const std::string in = folder_.file("in");
  fs::copy(model("llama3_scaled_tied", "model"), in);
  auto config = config_of(in);
  config["of_somebody_else"] = {{"deep", {1, 2}}};
  std::ofstream(in + "/config.json") << config.dump();
  std::ofstream(in + "/chat_template.jinja") << "{{ messages }}";
  const std::string out = quantise(in, *find_quantize_type("F8_E4M3"));
  auto kept = config_of(out);
  kept.erase("quantization_config");
  EXPECT_EQ(kept, config);
  EXPECT_TRUE(fs::exists(out + "/chat_template.jinja"));
}

TEST_F(ScaledDirectory, OptionsThatMeanNothingAreRefused) {
  const auto checkpoint = open(model("llama_plain", "model"));
  const QuantizeType& type = *find_quantize_type("F8_E4M3");
  const auto expect_usage = [&](const FormatOptions& options, const char* message) {
    std::vector<Fallback> fallbacks;
    const auto tensors = scaled_hf_tensors(*checkpoint, options, fallbacks);
    ASSERT_FALSE(tensors.ok()) << message;
    EXPECT_EQ(tensors.error().kind, ErrorKind::usage);
    EXPECT_THAT(tensors.error().message, HasSubstr(message));
  };
  expect_usage({.type = &type, .imatrix = true}, "--imatrix with F8_E4M3");
  expect_usage({.type = &type, .pure = true}, "--pure with F8_E4M3");
  expect_usage({.type = &type, .output = Format::q8_0}, "--output-tensor-type with F8_E4M3");
  expect_usage({.type = &type, .rules = {{"down", Format::q4_0}}}, "--tensor-type down=Q4_0");
  expect_usage({.type = &type, .rules = {{"nowhere", Format::f16}}}, "\"nowhere\" fits no matrix");
}

TEST_F(ScaledDirectory, RulesLeaveMatricesPlainAndTheConfigurationSaysSo) {
  const auto checkpoint = open(model("llama_plain", "model"));
  const FormatOptions options{.type = find_quantize_type("I8"),
                              .rules = {{"layers.1.mlp.down_proj", Format::bf16}},
                              .output = Format::f16};
  std::vector<Fallback> fallbacks;
  const auto tensors = scaled_hf_tensors(*checkpoint, options, fallbacks).value();
  EXPECT_TRUE(fallbacks.empty());
  for (const TensorPlan& tensor : tensors.tensors) {
    if (tensor.name == "model.layers.1.mlp.down_proj.weight") {
      EXPECT_EQ(tensor.format, Format::bf16);
    }
    if (tensor.name == "lm_head.weight") {
      EXPECT_EQ(tensor.format, Format::f16);
    }
  }
  EXPECT_EQ(nlohmann::json::parse(tensors.quantization)["ignore"],
            nlohmann::json({"model.layers.1.mlp.down_proj", "lm_head"}));
}

// What DeepSeek publishes is the original; other formats are made of it without a word.
TEST_F(ScaledDirectory, ADirectoryOfScalesBecomesPlainInGguf) {
  const auto in =
      open(quantise(model("llama_plain", "model"), *find_quantize_type("F8_E4M3_B128")));
  auto tensors = gguf_tensors(*in).value();
  ASSERT_TRUE(choose_formats(in->config(), {.type = find_quantize_type("COPY")}, tensors).ok());
  EXPECT_TRUE(refuse_requantizing(tensors).ok());
  const auto pool = ThreadPool::create(2);
  const std::string gguf = folder_.file("out.gguf");
  ASSERT_TRUE(write_gguf(*in, tensors, {}, gguf, **pool, nothing).ok());
  const auto written = open(gguf);
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  const WeightView view = written->weight(name).value();
  EXPECT_EQ(view.format, Format::bf16);
  std::vector<float> expected = values_of(in->weight(name).value());
  for (float& value : expected) value = to_float(to_bfloat16(value));
  EXPECT_EQ(values_of(view), expected);

  ASSERT_TRUE(choose_formats(in->config(), {.type = find_quantize_type("Q8_0")}, tensors).ok());
  EXPECT_FALSE(refuse_requantizing(tensors).ok());
}

}  // namespace
}  // namespace dunlin

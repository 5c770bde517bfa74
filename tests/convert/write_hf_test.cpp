// GGUF files as Hugging Face directories: what came from one goes back to the same bits.
#include "convert/write_hf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <variant>

#include "base/log.h"
#include "checkpoint/safetensors_reader.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_config_text.h"
#include "convert/hf_quantization.h"
#include "convert/llama3_scaling.h"
#include "convert/write_gguf.h"
#include "support/conversion.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(const Checkpoint& checkpoint, const std::string& name) {
  const auto view = checkpoint.weight(name);
  if (!view.ok()) throw std::runtime_error(view.error().message);
  Bytes bytes(static_cast<size_t>(view->rows * view->bytes_per_row()));
  if (!view->read_rows(0, view->rows, bytes).ok()) throw std::runtime_error(name);
  return bytes;
}

std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name) {
  const WeightView view = checkpoint.weight(name).value();
  const Bytes bytes = bytes_of(checkpoint, name);
  std::vector<float> values(static_cast<size_t>(view.rows * view.columns));
  view.row_form().decode(bytes.data(), view.rows, values.data());
  return values;
}

class WriteHf : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  // Writes a GGUF file of the model, of quantize's type.
  void make_gguf(const std::string& name, const char* type = "COPY") const {
    const auto in = open(test_data("data/" + name + "/model"));
    auto tensors = gguf_tensors(*in).value();
    ASSERT_TRUE(choose_formats(in->config(), {.type = find_quantize_type(type)}, tensors).ok());
    const auto pool = ThreadPool::create(1);
    ASSERT_TRUE(write_gguf(*in, tensors, {}, gguf_, **pool, nothing).ok());
  }
  Result<void> write(std::optional<Format> type = {}, uint64_t shard_bytes = UINT64_MAX) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto in, open_checkpoint(gguf_));
    DUNLIN_ASSIGN_OR_RETURN(const HfTensors tensors, hf_tensors(*in, type));
    DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
    const auto done = write_hf(*in, tensors, out_, shard_bytes, *pool, nothing);
    return done.ok() ? Result<void>() : done.error();
  }
  static std::vector<std::string> names(const std::string& folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder))
      found.push_back(entry.path().filename().string());
    std::ranges::sort(found);
    return found;
  }

  TemporaryFolder folder_;
  std::string gguf_ = folder_.file("model.gguf");
  const std::string out_ = folder_.file("model");
};

TEST_F(WriteHf, ThereAndBackAreTheSameBits) {
  const std::vector<std::string> models = golden_models();
  EXPECT_GE(models.size(), 13u);
  for (const std::string& name : models) {
    make_gguf(name);
    // One file, then one for every tensor.
    for (const uint64_t shard_bytes : {UINT64_MAX, uint64_t{1}}) {
      const auto done = write({}, shard_bytes);
      ASSERT_TRUE(done.ok()) << name << ": " << done.error().message;
      const auto original = open(test_data(fmt::format("data/{}/model", name)));
      const auto back = open(out_);
      EXPECT_EQ(fs::exists(out_ + "/model.safetensors.index.json"), shard_bytes == 1);
      EXPECT_TRUE(back->config().values() == original->config().values()) << name;
      size_t weights = 0;
      for (const TensorInfo& tensor : original->tensors()) {
        if (tensor.canonical_name.empty()) continue;
        ++weights;
        EXPECT_EQ(back->weight(tensor.canonical_name)->format, tensor.format)
            << name << ": " << tensor.name;
        EXPECT_TRUE(bytes_of(*back, tensor.canonical_name) ==
                    bytes_of(*original, tensor.canonical_name))
            << name << ": " << tensor.name;
      }
      EXPECT_EQ(back->tensors().size(), weights);
      fs::remove_all(out_);
    }
  }
}

TEST_F(WriteHf, BlocksNeedATypeAndF32IsExact) {
  make_gguf("llama_plain", "Q8_0");
  const auto refused = write();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_THAT(refused.error().message, HasSubstr("is in Q8_0, which safetensors cannot hold"));
  EXPECT_THAT(refused.error().message, HasSubstr("--outtype"));
  EXPECT_FALSE(fs::exists(out_));
  for (const Format type : {Format::f32, Format::bf16}) {
    ASSERT_TRUE(write(type).ok());
    const auto quantised = open(gguf_);
    const auto back = open(out_);
    for (const TensorInfo& tensor : quantised->tensors()) {
      const auto view = quantised->weight(tensor.canonical_name).value();
      const Bytes stored = bytes_of(*quantised, tensor.canonical_name);
      std::vector<float> values(static_cast<size_t>(view.rows * view.columns));
      traits(view.format).decode(stored.data(), std::ssize(values), values.data());
      const Format format = back->weight(tensor.canonical_name)->format;
      if (tensor.shape.size() > 1) {
        EXPECT_EQ(format, type) << tensor.name;
      }
      Bytes expected(static_cast<size_t>(row_bytes(traits(format), std::ssize(values))));
      traits(format).encode(values.data(), std::ssize(values), nullptr, expected.data());
      EXPECT_TRUE(bytes_of(*back, tensor.canonical_name) == expected) << tensor.name;
    }
    fs::remove_all(out_);
  }
}

// What a file of safetensors holds, by name.
struct StoredTensor {
  std::vector<int64_t> shape;
  bool raw = false;
  Format format = Format::f32;
  Bytes bytes;
  friend bool operator==(const StoredTensor&, const StoredTensor&) = default;
};

std::map<std::string, StoredTensor> stored_tensors(const std::string& path) {
  const auto file = open_file(path).value();
  const std::vector<TensorInfo> listed = read_safetensors_header(*file).value();
  std::map<std::string, StoredTensor> tensors;
  for (const TensorInfo& tensor : listed) {
    StoredTensor stored{
        .shape = tensor.shape, .raw = tensor.raw, .format = tensor.format, .bytes = {}};
    stored.bytes.resize(tensor.bytes);
    if (!file->read_at(tensor.offset, stored.bytes).ok()) throw std::runtime_error(tensor.name);
    tensors.emplace(tensor.name, std::move(stored));
  }
  return tensors;
}

const std::vector<std::string> kMixtures = {"gpt_oss_mxfp4", "gpt_oss_bf16", "gpt_oss_merged",
                                            "gpt_oss_one_expert"};

// MXFP4 in pairs of bytes, plain experts the other way round, biases in turn: as they are published.
TEST_F(WriteHf, MixturesThereAndBackAreTheSameBits) {
  for (const std::string& name : kMixtures) {
    const auto original = open(test_data("data/" + name + "/model"));
    make_gguf(name);
    // Ours, and one that another program wrote, where routers are F32 and experts may lie in halves.
    for (const std::string& gguf :
         {folder_.file("model.gguf"), test_data("data/" + name + "/model.gguf")}) {
      gguf_ = gguf;
      for (const uint64_t shard_bytes : {uint64_t{1}, UINT64_MAX}) {
        fs::remove_all(out_);
        const auto done = write({}, shard_bytes);
        ASSERT_TRUE(done.ok()) << gguf << ": " << done.error().message;
        const auto back = open(out_);
        EXPECT_EQ(back->tensors().size(), original->tensors().size()) << gguf;
        ASSERT_EQ(back->weights().size(), original->weights().size()) << gguf;
        for (const WeightInfo& weight : original->weights()) {
          EXPECT_EQ(back->weight(weight.name)->format, weight.format)
              << gguf << ": " << weight.name;
          EXPECT_TRUE(bytes_of(*back, weight.name) == bytes_of(*original, weight.name))
              << gguf << ": " << weight.name;
        }
      }
      const std::string file = test_data("data/" + name + "/model/model.safetensors");
      if (fs::exists(file)) {
        EXPECT_TRUE(stored_tensors(out_ + "/model.safetensors") == stored_tensors(file)) << gguf;
      }
    }
    gguf_ = folder_.file("model.gguf");
  }
}

TEST_F(WriteHf, TheConfigurationOfAMixtureComesBack) {
  const auto quantization = nlohmann::json::parse(
      R"({"quant_method": "mxfp4",
          "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                     "model.embed_tokens", "lm_head"]})");
  for (const std::string& name : kMixtures) {
    const auto original = open(test_data("data/" + name + "/model"));
    make_gguf(name);
    fs::remove_all(out_);
    ASSERT_TRUE(write().ok());
    // Which layers have a window is written out, whether or not it was.
    auto expected = original->config().values();
    auto values = open(out_)->config().values();
    EXPECT_EQ(std::get<std::vector<std::string>>(values.at("layer_types")).size(),
              static_cast<size_t>(std::get<int64_t>(values.at("num_hidden_layers"))));
    if (expected.contains("layer_types")) {
      EXPECT_TRUE(values.at("layer_types") == expected.at("layer_types")) << name;
    }
    expected.erase("layer_types");
    values.erase("layer_types");
    EXPECT_TRUE(values == expected) << name;

    std::ifstream file(out_ + "/config.json");
    const auto config = nlohmann::json::parse(file);
    const bool mxfp4 = name == "gpt_oss_mxfp4" || name == "gpt_oss_merged";
    ASSERT_EQ(config.contains("quantization_config"), mxfp4) << name;
    EXPECT_TRUE(config.at("attention_bias").get<bool>());
    if (mxfp4) {
      EXPECT_EQ(config.at("quantization_config"), quantization);
    }
  }
}

// Values of MXFP4 are bf16 numbers.
TEST_F(WriteHf, ExpertsBecomeWhatOuttypeSays) {
  for (const auto& [name, made] :
       {std::pair("gpt_oss_mxfp4", "COPY"), std::pair("gpt_oss_bf16", "Q8_0")}) {
    make_gguf(name, made);
    if (std::string_view(made) == "Q8_0") {
      const auto refused = write();
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().kind, ErrorKind::usage);
      EXPECT_THAT(refused.error().message, HasSubstr("is in Q8_0, which safetensors cannot hold"));
    }
    const Format type = std::string_view(made) == "Q8_0" ? Format::f32 : Format::bf16;
    fs::remove_all(out_);
    const auto done = write(type);
    ASSERT_TRUE(done.ok()) << done.error().message;
    const auto from = open(gguf_);
    const auto back = open(out_);
    EXPECT_FALSE(back->config().has("quantization_config.quant_method"));
    for (const WeightInfo& weight : from->weights()) {
      if (weight.shape.size() != 3) continue;
      const WeightView stored = from->weight(weight.name).value();
      const WeightView plain = back->weight(weight.name).value();
      EXPECT_EQ(plain.format, type) << weight.name;
      EXPECT_EQ(values_of(*back, weight.name), values_of(*from, weight.name)) << weight.name;
      EXPECT_EQ(stored.rows, plain.rows);
    }
  }
}

TEST_F(WriteHf, GateAndUpAreOfOneFormat) {
  make_gguf("gpt_oss_bf16");
  const auto in = open(gguf_);
  const auto done = hf_tensors_with(*in, [](const std::string& name, const WeightView&) {
    return name.find(".up_proj.") == std::string::npos ? Format::bf16 : Format::f16;
  });
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().kind, ErrorKind::usage);
  EXPECT_THAT(done.error().message,
              HasSubstr("model.layers.0.mlp.experts.gate_proj.weight is in BF16 and "
                        "model.layers.0.mlp.experts.up_proj.weight in F16, and"));
}

// Experts have no form there that other programs read.
TEST_F(WriteHf, TypesOfDenseModelsAreRefusedForMixtures) {
  const auto in = open(test_data("data/gpt_oss_bf16/model"));
  std::vector<Fallback> fallbacks;
  const auto done = scaled_hf_tensors(*in, {.type = find_quantize_type("I8")}, fallbacks);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().kind, ErrorKind::usage);
  EXPECT_THAT(done.error().message, HasSubstr("I8 is for dense models, and a gpt_oss model has"));
}

// Vectors that would lose something stay F32.
TEST_F(WriteHf, VectorsTakeTheFormatOfTheMatricesWhereThatIsExact) {
  make_gguf("llama3_scaled_tied", "BF16");
  ASSERT_TRUE(write().ok());
  EXPECT_EQ(open(out_)->weight("model.norm.weight")->format, Format::bf16);
  fs::remove_all(out_);
  const auto in = open(gguf_);
  auto tensors = hf_tensors(*in, Format::f16).value();
  EXPECT_EQ(tensors.dtype, Format::f16);
  // A third in float32 is in neither 16-bit format.
  auto altered = gguf_tensors(*in).value();
  for (TensorPlan& tensor : altered) {
    if (tensor.name != "output_norm.weight") continue;
    const std::vector<float> thirds(static_cast<size_t>(tensor.view.columns), 1.0f / 3.0f);
    const auto bytes = std::as_bytes(std::span(thirds));
    tensor.view.source = memory_source({bytes.begin(), bytes.end()}, "thirds");
    tensor.view.offset = 0;
    tensor.view.format = Format::f32;
  }
  const auto pool = ThreadPool::create(1);
  const std::string other = folder_.file("other.gguf");
  ASSERT_TRUE(write_gguf(*in, altered, {}, other, **pool, nothing).ok());
  gguf_ = other;
  ASSERT_TRUE(write().ok());
  EXPECT_EQ(open(out_)->weight("model.norm.weight")->format, Format::f32);
  EXPECT_EQ(open(out_)->weight("model.layers.0.input_layernorm.weight")->format, Format::bf16);
}

TEST_F(WriteHf, ScalingIsFoundFromItsDivisors) {
  const std::tuple<double, int64_t, Llama3Scaling> cases[] = {
      {500000.0, 128, {8.0, 1.0, 4.0, 8192}},  // Llama 3.1
      {500000.0, 64, {32.0, 1.0, 4.0, 8192}},  // Llama 3.2 1B
  };
  for (const auto& [theta, head_dim, scaling] : cases) {
    const auto divisors = llama3_divisors(theta, head_dim, scaling);
    std::vector<double> found_from(divisors.begin(), divisors.end());
    for (double& divisor : found_from) divisor *= 1.00001;  // another converter's rounding
    const auto found = find_llama3_scaling(theta, found_from);
    ASSERT_TRUE(found.has_value());
    EXPECT_NEAR(found->factor, scaling.factor, 1e-3);
    EXPECT_EQ(found->original_max_position_embeddings, scaling.original_max_position_embeddings);
  }
  Metadata config = open(test_data("data/llama3_scaled/model.gguf"))->config();
  config.set("rope_freq_divisors", std::vector<double>{1.0, 2.0, 1.5, 3.0});
  const auto other = hf_config_text(config, Format::f32);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().kind, ErrorKind::model);
  EXPECT_THAT(other.error().message, HasSubstr("rope_freqs.weight is not llama3's scaling"));
}

TEST_F(WriteHf, SomethingOfThatNameIsAnError) {
  make_gguf("llama_plain");
  fs::create_directory(out_);
  ASSERT_TRUE(write().ok());  // an empty directory
  const auto again = write();
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().kind, ErrorKind::usage);
  EXPECT_EQ(again.error().message, out_ + ": is there already");
  EXPECT_THAT(names(out_),
              ElementsAre("config.json", "generation_config.json", "model.safetensors"));
}

}  // namespace
}  // namespace dunlin

// GGUF files as Hugging Face directories: what came from one goes back to the same bits.
#include "convert/write_hf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_config_text.h"
#include "convert/llama3_scaling.h"
#include "convert/write_gguf.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

std::unique_ptr<Checkpoint> open(const std::string& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint.ok()) throw std::runtime_error(checkpoint.error().message);
  return std::move(*checkpoint);
}

Bytes bytes_of(const Checkpoint& checkpoint, const std::string& name) {
  const auto view = checkpoint.weight(name);
  if (!view.ok()) throw std::runtime_error(view.error().message);
  Bytes bytes(static_cast<size_t>(view->rows * view->bytes_per_row()));
  if (!view->read_rows(0, view->rows, bytes).ok()) throw std::runtime_error(name);
  return bytes;
}

Result<void> nothing(uint64_t, uint64_t) {
  return {};
}

class WriteHf : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
    folder_ = testing::TempDir() + "dunlin_convert_XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    gguf_ = folder_ + "/model.gguf";
    out_ = folder_ + "/model";
  }
  void TearDown() override { fs::remove_all(folder_); }

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

  std::string folder_, gguf_, out_;
};

TEST_F(WriteHf, ThereAndBackAreTheSameBits) {
  for (const char* name : {"llama_plain", "llama_heads_9_3", "llama_tied_bias", "llama3_scaled",
                           "llama3_scaled_tied", "llama_defaults", "qwen2_tied", "qwen2_untied",
                           "qwen2_heads_14_2", "dream_plain", "dream_heads_14_2"}) {
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
  const std::string other = folder_ + "/other.gguf";
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

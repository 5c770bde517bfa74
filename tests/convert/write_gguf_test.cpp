// Checkpoints as GGUF files: those of tests/data equal the files that PyPI `gguf` wrote
// (tools/hf_to_gguf.py), and every type holds what encoding in memory gives.
#include "convert/write_gguf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/byte_source.h"
#include "base/log.h"
#include "checkpoint/gguf_writer.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "support/conversion.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

const TensorInfo* find(const Checkpoint& checkpoint, const std::string& name) {
  const auto it = std::ranges::find(checkpoint.tensors(), name, &TensorInfo::name);
  return it == checkpoint.tensors().end() ? nullptr : &*it;
}

Bytes bytes_of(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  Bytes bytes(tensor.bytes);
  const auto index = static_cast<size_t>(&tensor - checkpoint.tensors().data());
  if (!checkpoint.source(index)->read_at(tensor.offset, bytes).ok())
    throw std::runtime_error(tensor.name);
  return bytes;
}

class WriteGguf : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
  std::string content() const {
    std::ifstream file(out_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  Result<void> write(const Checkpoint& checkpoint, const std::vector<TensorPlan>& tensors,
                     const ConvertProgress& progress = nothing) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
    const auto done = write_gguf(checkpoint, tensors, {.file_type = 7}, out_, *pool, progress);
    return done.ok() ? Result<void>() : done.error();
  }
  Result<void> quantize(const std::string& in, const std::string& type,
                        const ConvertProgress& progress = nothing) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
    DUNLIN_ASSIGN_OR_RETURN(auto tensors, gguf_tensors(*checkpoint));
    const auto chosen =
        choose_formats(checkpoint->config(), {.type = find_quantize_type(type)}, tensors);
    if (!chosen.ok()) return chosen.error();
    return write(*checkpoint, tensors, progress);
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_.file("out.gguf");
};

TEST_F(WriteGguf, DirectoriesEqualTheFilesOfTheGgufPackage) {
  std::vector<std::string> models = golden_models();
  EXPECT_GE(models.size(), 13u);
  models.insert(models.end(), {"gpt_oss_mxfp4", "gpt_oss_bf16", "gpt_oss_one_expert"});
  for (const std::string& name : models) {
    const auto golden = open(test_data("data/" + name + "/model.gguf"));
    const auto directory = open(test_data("data/" + name + "/model"));
    auto tensors = gguf_tensors(*directory);
    ASSERT_TRUE(tensors.ok()) << name << ": " << tensors.error().message;
    for (TensorPlan& tensor : *tensors) {
      const TensorInfo* const same = find(*golden, tensor.name);
      ASSERT_NE(same, nullptr) << name << ": " << tensor.name;
      tensor.format = same->format;
    }
    const auto done = write(*directory, *tensors);
    ASSERT_TRUE(done.ok()) << name << ": " << done.error().message;

    const auto written = open(out_);
    ASSERT_EQ(written->tensors().size(), golden->tensors().size()) << name;
    for (const TensorInfo& tensor : golden->tensors()) {
      const TensorInfo* const same = find(*written, tensor.name);
      ASSERT_NE(same, nullptr) << name << ": " << tensor.name;
      EXPECT_EQ(same->shape, tensor.shape) << name << ": " << tensor.name;
      EXPECT_TRUE(bytes_of(*written, *same) == bytes_of(*golden, tensor))
          << name << ": " << tensor.name;
    }
    for (const auto& [key, value] : golden->header().values()) {
      if (key == "general.name") continue;
      const Metadata::Value* const same = written->header().find(key);
      ASSERT_NE(same, nullptr) << name << ": " << key;
      EXPECT_TRUE(*same == value) << name << ": " << key;
    }
    EXPECT_EQ(*written->header().text("general.name"), "model");
    EXPECT_EQ(*written->header().integer("general.file_type", 0, 99), 7);
    EXPECT_EQ(*written->header().integer("general.quantization_version", 0, 99), 2);
  }
}

// Gate and up of a directory are rows in turn of one tensor, which is read for both.
TEST_F(WriteGguf, ExpertsOfADirectoryAreReadOnce) {
  for (const char* model : {"gpt_oss_bf16", "gpt_oss_mxfp4", "gpt_oss_one_expert"}) {
    const auto directory = open(test_data(std::string("data/") + model + "/model"));
    const auto tensors = gguf_tensors(*directory).value();
    uint64_t stored = 0;
    for (const TensorInfo& tensor : directory->tensors()) stored += tensor.bytes;
    int64_t pairs = 0;
    for (size_t i = 0; i + 1 < tensors.size(); ++i)
      pairs += source_of_both(tensors[i], tensors[i + 1]).has_value() ? 1 : 0;
    EXPECT_EQ(pairs, directory->config().integer("num_hidden_layers", 1, 100).value()) << model;
    const uint64_t before = file_reads().bytes;
    uint64_t most = 0, whole = 0;
    const auto done = write(*directory, tensors, [&](uint64_t written, uint64_t all) {
      EXPECT_GE(written, most);
      most = written;
      whole = all;
      return Result<void>();
    });
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_LE(10 * (file_reads().bytes - before), 11 * stored) << model;
    EXPECT_EQ(most, whole);
  }
}

// A run that is ended between them goes on.
TEST_F(WriteGguf, ExpertsThatWereInterruptedGoOn) {
  const std::string in = test_data("data/gpt_oss_bf16/model");
  ASSERT_TRUE(quantize(in, "Q8_0").ok());
  const std::string wanted = content();
  fs::remove(out_);
  for (int calls = 1; !fs::exists(out_); ++calls) {
    int left = calls;
    const auto done = quantize(in, "Q8_0", [&left](uint64_t, uint64_t) -> Result<void> {
      return left-- > 0 ? Result<void>() : Result<void>(runtime_error("ended"));
    });
    ASSERT_TRUE(done.ok() || calls < 1000) << done.error().message;
  }
  EXPECT_TRUE(content() == wanted);
}

// gpt-oss's original/ has weights only.
TEST_F(WriteGguf, OriginalHasTheTokenizerOfTheFolderAboveIt) {
  const std::string model = folder_.file("model");
  const std::string weights = model + "/original";
  fs::create_directories(weights);
  write_text_model(model);
  for (const char* name : {"config.json", "model.safetensors"})
    fs::rename(fs::path(model) / name, fs::path(weights) / name);
  const auto written = quantize(weights + "/", "COPY");
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto gguf = open(out_);
  EXPECT_TRUE(gguf->header().has("tokenizer.ggml.tokens"));
  EXPECT_TRUE(gguf->header().has("tokenizer.chat_template"));
  // A folder of another name is somebody else's.
  fs::rename(weights, model + "/weights");
  ASSERT_TRUE(quantize(model + "/weights", "COPY").ok());
  EXPECT_FALSE(open(out_)->header().has("tokenizer.ggml.tokens"));
}

TEST_F(WriteGguf, AVocabularyWithoutTokenizerJsonComesAlong) {
  const std::string model = folder_.file("model");
  fs::create_directories(model);
  write_text_diffusion_model(model, 3);
  write_vocabulary_files(model, "DreamTokenizer");
  const auto written = quantize(model, "COPY");
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto gguf = open(out_);
  EXPECT_EQ(gguf->header().text("tokenizer.ggml.pre").value(), "qwen2");
  EXPECT_TRUE(gguf->header().has("tokenizer.chat_template"));
}

TEST_F(WriteGguf, StopsAndSamplingOfADirectoryComeAlong) {
  ASSERT_TRUE(quantize(test_data("data/llama_plain/model"), "COPY").ok());
  const auto written = open(out_);
  const auto directory = open(test_data("data/llama_plain/model"));
  for (const char* key : {"eos_token_id", "bos_token_id"})
    EXPECT_TRUE(*written->config().find(key) == *directory->config().find(key)) << key;
  for (const char* key : {"generation.temperature", "generation.top_p"})
    EXPECT_FLOAT_EQ(static_cast<float>(*written->config().number(key, 0, 9)),
                    static_cast<float>(*directory->config().number(key, 0, 9)));
}

// Every type, from both containers, holds the blocks of encoding whole tensors in memory.
TEST_F(WriteGguf, EveryTypeHoldsWhatEncodingInMemoryGives) {
  for (const std::string& model : {std::string("llama_plain"), std::string("qwen2_untied")}) {
    for (const char* container : {"model", "model.gguf"}) {
      const auto in = open(test_data(fmt::format("data/{}/{}", model, container)));
      for (const QuantizeType& type : quantize_types()) {
        if (type.is_scaled()) continue;
        auto tensors = gguf_tensors(*in).value();
        ASSERT_TRUE(choose_formats(in->config(), {.type = &type}, tensors).ok());
        ASSERT_TRUE(write(*in, tensors).ok()) << type.name;
        const auto written = open(out_);
        for (const TensorInfo& tensor : written->tensors()) {
          const auto view = in->weight(tensor.canonical_name);
          ASSERT_TRUE(view.ok()) << tensor.name;
          Bytes stored(static_cast<size_t>(view->rows * view->bytes_per_row()));
          ASSERT_TRUE(view->read_rows(0, view->rows, stored).ok());
          std::vector<float> values(static_cast<size_t>(view->rows * view->columns));
          traits(view->format).decode(stored.data(), std::ssize(values), values.data());

          const auto encoded_view = written->weight(tensor.canonical_name).value();
          Bytes read(static_cast<size_t>(encoded_view.rows * encoded_view.bytes_per_row()));
          ASSERT_TRUE(encoded_view.read_rows(0, encoded_view.rows, read).ok());
          Bytes expected(read.size());
          if (tensor.format == view->format) {
            expected = stored;
          } else {
            traits(tensor.format)
                .encode(values.data(), std::ssize(values), nullptr, expected.data());
          }
          EXPECT_TRUE(read == expected) << type.name << ": " << tensor.name;
        }
      }
    }
  }
}

TEST_F(WriteGguf, CopyOfAGgufFileKeepsKeysAndTensors) {
  const std::string in = test_data("data/llama3_scaled/model.gguf");
  const auto original = open(in);
  const auto pool = ThreadPool::create(1);
  const auto tensors = gguf_tensors(*original);
  ASSERT_TRUE(write_gguf(*original, *tensors, {}, out_, **pool, nothing).ok());
  const auto written = open(out_);
  Metadata expected = original->header();
  expected.set("general.quantization_version", int64_t{2});
  EXPECT_TRUE(written->header().values() == expected.values());
  ASSERT_EQ(written->tensors().size(), original->tensors().size());
  for (size_t i = 0; i < written->tensors().size(); ++i) {
    const TensorInfo& tensor = written->tensors()[i];
    EXPECT_EQ(tensor.name, original->tensors()[i].name);
    EXPECT_EQ(tensor.format, original->tensors()[i].format);
    EXPECT_TRUE(bytes_of(*written, tensor) == bytes_of(*original, original->tensors()[i]));
  }
}

TEST_F(WriteGguf, PartsOfASplitFileBecomeOne) {
  const auto whole = open(test_data("data/qwen2_untied/model.gguf"));
  const auto tensors = gguf_tensors(*whole).value();
  const auto write_part = [&](int number, size_t begin, size_t end) {
    auto writer = GgufWriter::create(folder_.file(fmt::format("m-0000{}-of-00002.gguf", number)));
    if (number == 1) {
      for (const auto& [key, value] : whole->header().values()) {
        if (const auto* text = std::get_if<std::string>(&value)) writer->set_text(key, *text);
        if (const auto* size = std::get_if<int64_t>(&value))
          writer->set_u32(key, static_cast<uint32_t>(*size));
        if (const auto* real = std::get_if<double>(&value))
          writer->set_f32(key, static_cast<float>(*real));
      }
    }
    writer->set_u32("split.no", static_cast<uint32_t>(number - 1));
    writer->set_u32("split.count", 2);
    for (size_t i = begin; i < end; ++i)
      writer->add_tensor(tensors[i].name, tensors[i].shape, tensors[i].format);
    ASSERT_TRUE(writer->begin_data().ok());
    for (size_t i = begin; i < end; ++i)
      ASSERT_TRUE(writer->write(bytes_of(*whole, whole->tensors()[i])).ok());
    ASSERT_TRUE(writer->finish().ok());
  };
  write_part(1, 0, 5);
  write_part(2, 5, tensors.size());
  const std::string first = folder_.file("m-00001-of-00002.gguf");
  ASSERT_TRUE(quantize(first, "COPY").ok());
  const auto joined = open(out_);
  EXPECT_FALSE(joined->header().has("split.count"));
  ASSERT_EQ(joined->tensors().size(), tensors.size());
  for (const TensorInfo& tensor : joined->tensors()) {
    EXPECT_TRUE(bytes_of(*joined, tensor) == bytes_of(*whole, *find(*whole, tensor.name)))
        << tensor.name;
  }
  // No part may be the output.
  fs::remove(out_);
  fs::create_symlink("m-00002-of-00002.gguf", out_);
  const auto refused = quantize(first, "COPY");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("the model is read from this file"));
}

TEST_F(WriteGguf, OnlyGgufFilesAreReplaced) {
  const std::string in = test_data("data/llama_plain/model.gguf");
  std::ofstream(out_) << "{\"a\": \"configuration\"}";
  const auto refused = quantize(in, "Q8_0");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_EQ(refused.error().message, out_ + ": is there and is not a GGUF file");
  EXPECT_EQ(content(), "{\"a\": \"configuration\"}");
  std::ofstream(out_, std::ios::trunc).close();  // empty, as mktemp leaves it
  ASSERT_TRUE(quantize(in, "Q8_0").ok());
  const std::string before = content();
  ASSERT_TRUE(quantize(in, "Q4_0").ok());
  EXPECT_NE(content().size(), before.size());
  EXPECT_EQ(files(), std::vector<std::string>{"out.gguf"});
}

TEST_F(WriteGguf, ProgressCountsAllBytesAndItsErrorLeavesNothing) {
  const std::string in = test_data("data/llama_plain/model");
  uint64_t last = 0;
  uint64_t all = 0;
  ASSERT_TRUE(quantize(in, "Q8_0", [&](uint64_t done, uint64_t total) -> Result<void> {
                EXPECT_GT(done, last);
                last = done;
                all = total;
                return {};
              }).ok());
  EXPECT_EQ(last, all);
  uint64_t bytes = 0;
  const auto written = open(out_);
  for (const TensorInfo& tensor : written->tensors()) bytes += tensor.bytes;
  EXPECT_EQ(last, bytes);
  fs::remove(out_);
  const auto stopped = quantize(in, "Q8_0", [](uint64_t done, uint64_t total) -> Result<void> {
    return done > total / 2 ? Result<void>(usage_error("stop")) : Result<void>();
  });
  EXPECT_EQ(stopped.error().message, "stop");
  EXPECT_TRUE(files().empty());
}

TEST_F(WriteGguf, AMissingWeightIsAnError) {
  const std::string folder = folder_.file("model");
  fs::copy(test_data("data/llama3_scaled/model"), folder, fs::copy_options::recursive);
  std::ifstream file(folder + "/config.json");
  std::string config{std::istreambuf_iterator<char>(file), {}};
  const std::string layers = "\"num_hidden_layers\": ";
  const size_t at = config.find(layers) + layers.size();
  config.replace(at, 1, std::to_string(config[at] - '0' + 1));
  std::ofstream(folder + "/config.json") << config;
  const auto written = quantize(folder, "Q8_0");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::model);
  EXPECT_THAT(written.error().message,
              HasSubstr("the tensor model.layers.2.input_layernorm.weight is missing"));
  EXPECT_EQ(files(), std::vector<std::string>{"model"});
}

// Every projection of a mixture has a bias: a file without one could not be loaded.
TEST_F(WriteGguf, AMissingBiasOfAMixtureIsAnError) {
  const std::string folder = folder_.file("model");
  fs::copy(test_data("data/gpt_oss_mxfp4/model"), folder, fs::copy_options::recursive);
  std::ifstream file(folder + "/model.safetensors", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::string name = "model.layers.0.mlp.experts.down_proj_bias";
  const std::string ignored = "model.layers.0.mlp.xx.rotary_emb.inv_freq";
  ASSERT_EQ(name.size(), ignored.size());
  bytes.replace(bytes.find(name), name.size(), ignored);
  std::ofstream(folder + "/model.safetensors", std::ios::binary) << bytes;
  const auto written = quantize(folder, "COPY");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::model);
  EXPECT_THAT(written.error().message, HasSubstr("the tensor " + name + " is missing"));
  EXPECT_EQ(files(), std::vector<std::string>{"model"});
}

TEST_F(WriteGguf, AScalingWithoutAFormIsAnError) {
  const std::string folder = folder_.file("model");
  fs::copy(test_data("data/qwen2_tied/model"), folder, fs::copy_options::recursive);
  std::ifstream file(folder + "/config.json");
  std::string config{std::istreambuf_iterator<char>(file), {}};
  config.insert(1,
                R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                    "high_freq_factor": 4, "original_max_position_embeddings": 32},)");
  const size_t null = config.find("\"rope_scaling\": null");
  if (null != std::string::npos) config.replace(null, 20, "\"unused\": null");
  std::ofstream(folder + "/config.json") << config;
  const auto written = quantize(folder, "Q8_0");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::model);
  EXPECT_THAT(written.error().message, HasSubstr("rope scaling llama3 of a qwen2 model"));
  EXPECT_EQ(files(), std::vector<std::string>{"model"});
}

}  // namespace
}  // namespace dunlin

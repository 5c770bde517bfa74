// Prepared directories: every value is that of the model they were made from, bit for bit, and damage
// at any byte is found.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference.h"
#include "base/byte_source.h"
#include "base/log.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/prepared_directory.h"
#include "checkpoint/prepared_files.h"
#include "checkpoint/prepared_manifest.h"
#include "convert/choose_formats.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_quantization.h"
#include "convert/hf_tensors.h"
#include "convert/write_gguf.h"
#include "convert/write_hf.h"
#include "convert/write_prepared.h"
#include "engine/model.h"
#include "golden_models.h"
#include "models/registry.h"
#include "parity/parity.h"
#include "support/conversion.h"
#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Precision kPrecisions[] = {Precision::automatic, Precision::exact, Precision::fast,
                                     Precision::f32};

class Prepared : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  Result<size_t> prepare(const std::string& in, Precision precision = Precision::automatic,
                         const std::string& packing = "") const {
    fs::remove_all(out_);
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
    DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
    const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
    const auto backend = make_cpu_backend();
    DUNLIN_ASSIGN_OR_RETURN(
        const auto packer,
        backend->packer(program, weights, {.precision = precision, .threads = 2}));
    const PreparedSettings settings = {.packing = packing.empty() ? backend->packing() : packing,
                                       .precision = precision,
                                       .file_bytes = 300'000};
    return write_prepared(*checkpoint, *packer, settings, out_, nothing);
  }

  // Every value of the golden's prompt and continuation, as a file.
  std::string values(const std::string& model, const std::string& golden, Precision precision,
                     const std::string& isa = "", LoadMode load_mode = LoadMode::copy,
                     bool offload = false) const {
    const std::string dump = folder_.file("dump.safetensors");
    const auto report = compare_with_reference(model, golden,
                                               {.precision = precision,
                                                .load_mode = load_mode,
                                                .offload = offload,
                                                .threads = 2,
                                                .isa = isa,
                                                .dump = dump});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return content_of(dump);
  }

  void expect_same_bits(const std::string& in, const std::string& golden,
                        Precision precision) const {
    const std::string what = fmt::format("{} {}", in, precision_name(precision));
    const auto done = prepare(in, precision);
    ASSERT_TRUE(done.ok()) << what << ": " << done.error().message;
    const std::string wanted = values(in, golden, precision);
    ASSERT_GT(wanted.size(), 1000u) << what;
    for (const LoadMode mode : {LoadMode::copy, LoadMode::mmap})
      EXPECT_TRUE(values(out_, golden, precision, "", mode) == wanted) << what;
  }

  Result<void> quantize(const std::string& in, const std::string& out, const char* type) const {
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
    DUNLIN_ASSIGN_OR_RETURN(auto tensors, gguf_tensors(*checkpoint));
    const auto chosen =
        choose_formats(checkpoint->config(), {.type = find_quantize_type(type)}, tensors);
    if (!chosen.ok()) return chosen.error();
    DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
    const auto written = write_gguf(*checkpoint, tensors, {}, out, *pool, nothing);
    return written.ok() ? Result<void>() : written.error();
  }

  // As a directory, with scales beside the elements.
  static Result<void> quantize_scaled(const std::string& in, const std::string& out,
                                      const QuantizeType& type) {
    fs::remove_all(out);
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
    std::vector<Fallback> fallbacks;
    DUNLIN_ASSIGN_OR_RETURN(const HfTensors tensors,
                            scaled_hf_tensors(*checkpoint, {.type = &type}, fallbacks));
    DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(2));
    const auto written = write_hf(*checkpoint, tensors, out, uint64_t{1} << 30, *pool, nothing);
    return written.ok() ? Result<void>() : written.error();
  }

  // Opens it and compares every byte with its checksum.
  Result<void> read_all() const {
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(out_));
    return checkpoint->prepared_files()->check([](double) {});
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_.file("out");
};

TEST_F(Prepared, EveryGoldenModelOfBothContainersHasTheSameBits) {
  for (const std::string& model : committed_models()) {
    for (const Container container : {Container::directory, Container::gguf}) {
      for (const Precision precision : kPrecisions)
        expect_same_bits(model_path(model, container), golden_path(model), precision);
    }
  }
}

// Whatever part of the weights memory may hold.
TEST_F(Prepared, WeightsThatAreReadWhileItRunsHaveTheSameBits) {
  for (const std::string& model : committed_models()) {
    const std::string in = model_path(model, Container::directory);
    for (const Precision precision : {Precision::automatic, Precision::fast, Precision::f32}) {
      ASSERT_TRUE(prepare(in, precision).ok()) << model;
      const std::string wanted = values(in, golden_path(model), precision);
      for (const char* budget : {"0", "100K"}) {
        const SavedEnvironment environment("DUNLIN_MEMORY_BUDGET", budget);
        EXPECT_TRUE(values(out_, golden_path(model), precision, "", LoadMode::mmap, true) == wanted)
            << model << " " << budget;
      }
    }
  }
}

TEST_F(Prepared, EightBitModelsHaveTheSameBits) {
  for (const std::string& folder : quantized_folders()) {
    for (const Precision precision : kPrecisions)
      expect_same_bits(folder + "/model", folder + "/golden.safetensors", precision);
  }
}

// Gate and up of a directory are rows in turn of one tensor, which is read for both, whether the model is
// loaded or packed ahead.
TEST_F(Prepared, ExpertsOfADirectoryAreReadOnce) {
  for (const char* model :
       {"gpt_oss_bf16", "gpt_oss_merged", "gpt_oss_mxfp4", "gpt_oss_one_expert"}) {
    const auto checkpoint = open_checkpoint(model_path(model, Container::directory)).value();
    const Program program = record_model(checkpoint->config(), {}).value();
    const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
    uint64_t stored = 0;
    for (const TensorInfo& tensor : checkpoint->tensors()) stored += tensor.bytes;
    const auto backend = make_cpu_backend();
    const auto reference = make_reference_backend();
    uint64_t before = 0;
    for (Backend* const each : {backend.get(), reference.get()}) {
      before = file_reads().bytes;
      const auto loaded = each->compile(
          program, weights,
          {.limits = {.rows = 8, .logit_rows = 1, .sequences = 1, .context = 64}, .threads = 3});
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      EXPECT_LE(10 * (file_reads().bytes - before), 11 * stored) << model << ", " << each->name();
    }

    const auto packer = backend->packer(program, weights, {.threads = 2}).value();
    std::vector<uint64_t> bytes(packer->parts().size());
    int64_t pairs = 0;
    before = file_reads().bytes;
    for (size_t part = 0; part < bytes.size(); ++part) {
      if (const auto other = packer->companion(part)) {
        EXPECT_EQ(packer->companion(*other), part);
        if (*other < part) continue;
        ++pairs;
      }
      const auto done = packer->pack(part, [&](size_t of, std::span<const std::byte> piece) {
        bytes[of] += piece.size();
        return Result<void>();
      });
      ASSERT_TRUE(done.ok()) << done.error().message;
    }
    EXPECT_LE(10 * (file_reads().bytes - before), 11 * stored) << model;
    EXPECT_EQ(pairs, checkpoint->config().integer("num_hidden_layers", 1, 100).value());
    for (size_t part = 0; part < bytes.size(); ++part)
      EXPECT_EQ(bytes[part], packer->parts()[part].bytes) << packer->parts()[part].name;
  }
}

TEST_F(Prepared, EveryInstructionSetReadsTheSameFile) {
  const std::string in = model_path("llama_heads_9_3", Container::gguf);
  const std::string golden = golden_path("llama_heads_9_3");
  ASSERT_TRUE(prepare(in).ok());
  for (const BackendChoice& choice : all_backends()) {
    if (choice.backend != "cpu" || !refusal(choice).empty()) continue;  // parity_test skips by name
    EXPECT_TRUE(values(out_, golden, Precision::automatic, choice.isa) ==
                values(in, golden, Precision::automatic, choice.isa))
        << choice.isa;
  }
}

TEST_F(Prepared, EveryFormatOfSmallRowsHasTheSameBits) {
  const std::string quantised = folder_.file("quantised.gguf");
  for (const char* type : {"F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1", "MXFP4"}) {
    ASSERT_TRUE(quantize(model_path("llama_plain", Container::directory), quantised, type).ok());
    for (const Precision precision : {Precision::automatic, Precision::f32})
      expect_same_bits(quantised, golden_path("llama_plain"), precision);
  }
}

TEST_F(Prepared, ConfigurationTextSideAndFingerprintComeAlong) {
  for (const Container container : {Container::directory, Container::gguf}) {
    for (const std::string& model : committed_models()) {
      const std::string in = model_path(model, container);
      ASSERT_TRUE(prepare(in).ok());
      const auto source = open_checkpoint(in).value();
      const auto prepared = open_checkpoint(out_).value();
      EXPECT_STREQ(prepared->container(), "prepared");
      EXPECT_TRUE(prepared->config().values() == source->config().values()) << in;
      if (container == Container::directory) {
        EXPECT_TRUE(prepared->header().values().empty()) << in;
      } else {
        EXPECT_TRUE(prepared->header().values() == source->header().values()) << in;
      }
      EXPECT_EQ(fingerprint(*prepared).value(), fingerprint(*source).value());
      EXPECT_EQ(parameter_count(*prepared), parameter_count(*source));
      for (const WeightInfo& weight : source->weights()) {
        const auto same = std::ranges::find(prepared->weights(), weight.name, &WeightInfo::name);
        ASSERT_NE(same, prepared->weights().end()) << in << ": " << weight.name;
        EXPECT_EQ(same->shape, weight.shape) << in << ": " << weight.name;
        EXPECT_EQ(same->format, weight.format) << in << ": " << weight.name;
        EXPECT_EQ(prepared->tensors()[same->tensor].bytes,
                  source->weight(weight.name)->stored_bytes())
            << in << ": " << weight.name;
      }
    }
  }
}

TEST_F(Prepared, DamageAtAnyByteIsFound) {
  ASSERT_TRUE(prepare(model_path("llama_defaults", Container::gguf)).ok());
  ASSERT_TRUE(read_all().ok());
  for (const auto& entry : fs::directory_iterator(out_)) {
    const std::string good = content_of(entry.path());
    const size_t step = std::max<size_t>(1, good.size() / 211);
    for (size_t at = 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      put(entry.path(), bad);
      const auto read = read_all();
      ASSERT_FALSE(read.ok()) << entry.path() << " at " << at;
      EXPECT_EQ(read.error().kind, ErrorKind::model) << entry.path() << " at " << at;
      EXPECT_THAT(read.error().message, HasSubstr(entry.path().filename().string()));
    }
    put(entry.path(), good.substr(0, good.size() - 1));
    EXPECT_FALSE(open_checkpoint(out_).ok()) << entry.path();
    put(entry.path(), good + "x");
    EXPECT_FALSE(open_checkpoint(out_).ok()) << entry.path();
    fs::remove(entry.path());
    EXPECT_FALSE(open_checkpoint(out_).ok()) << entry.path();
    put(entry.path(), good);
  }
  EXPECT_TRUE(read_all().ok());
}

TEST_F(Prepared, CopyingComparesChecksumsAndMappingDoesNot) {
  ASSERT_TRUE(prepare(model_path("llama_defaults", Container::gguf)).ok());
  const fs::path weights = fs::path(out_) / "weights-00001-of-00001.dunlin";
  const std::string good = content_of(weights);
  for (const size_t at : {size_t{64}, good.size() / 2}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    put(weights, bad);
    const auto copied = load_model(out_, {.threads = 2});
    ASSERT_FALSE(copied.ok()) << at;
    EXPECT_EQ(copied.error().kind, ErrorKind::model);
    EXPECT_THAT(copied.error().message, HasSubstr(weights.string() + ": damaged: the checksum of"));
    EXPECT_TRUE(load_model(out_, {.load_mode = LoadMode::mmap, .threads = 2}).ok()) << at;
  }
}

TEST_F(Prepared, OnlyPreparedWeightsCanBeMapped) {
  const std::string in = model_path("llama_defaults", Container::gguf);
  for (const ModelOptions& options :
       {ModelOptions{.load_mode = LoadMode::mmap}, ModelOptions{.offload = true}}) {
    const auto model = load_model(in, options);
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.error().kind, ErrorKind::usage);
    EXPECT_THAT(model.error().message,
                HasSubstr(fmt::format("`dunlin convert {} OUT --to prepared`", in)));
  }
}

TEST_F(Prepared, WeightsOfAnotherModelAreRefused) {
  const std::string in = model_path("llama_defaults", Container::gguf);
  ASSERT_TRUE(prepare(in).ok());
  const std::string name = "weights-00001-of-00001.dunlin";
  const std::string other = content_of(fs::path(out_) / name);
  ASSERT_TRUE(prepare(in, Precision::f32).ok());
  put(fs::path(out_) / name, other);
  EXPECT_THAT(open_checkpoint(out_).error().message,
              HasSubstr("belongs to another prepared model"));
}

TEST_F(Prepared, WhatDoesNotSuitNamesTheCommand) {
  const std::string in = folder_.file("f16.gguf");
  ASSERT_TRUE(quantize(model_path("llama_plain", Container::directory), in, "F16").ok());
  const auto load = [this](ModelOptions options) {
    const auto model = load_model(out_, options);
    EXPECT_FALSE(model.ok());
    EXPECT_EQ(model.error().kind, ErrorKind::model);
    return model.error().message;
  };
  const std::string command = fmt::format("`dunlin convert {} OUT --to prepared", in);
  ASSERT_TRUE(prepare(in, Precision::automatic, "cpu 0").ok());
  EXPECT_THAT(load({}),
              HasSubstr("packed as \"cpu 0\", and this needs \"cpu 1\"; " + command + "`"));
  ASSERT_TRUE(prepare(in).ok());
  EXPECT_THAT(load({.precision = Precision::f32}), HasSubstr(command + " --precision f32`"));
  EXPECT_THAT(load({.backend = "reference"}), HasSubstr("use the model it was made from, " + in));
  const auto again = hf_tensors(*open_checkpoint(out_).value(), {});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().kind, ErrorKind::usage);
  EXPECT_THAT(again.error().message, HasSubstr("is a prepared directory"));
}

// Checksums agree with whoever wrote the manifest, so what it says is checked too.
TEST_F(Prepared, AManifestThatLiesIsAnError) {
  const std::string in = model_path("llama_plain", Container::directory);
  ASSERT_TRUE(prepare(in).ok());
  const std::string good = [&] {
    PreparedManifest manifest;
    const auto source = open_checkpoint(in).value();
    manifest.config = source->config();
    manifest.weights = {"weights-00001-of-00002.dunlin"};
    manifest.files = {{.name = "tokenizer.json", .bytes = 1, .hash = "0"}};
    manifest.tensors = source->tensors();
    return manifest_text(manifest);
  }();
  ASSERT_TRUE(parse_manifest(good, "m").ok()) << parse_manifest(good, "m").error().message;
  const std::pair<const char*, const char*> lies[] = {
      {"\"version\":1", "\"version\":2"},
      {"\"version\":1", "\"version\":-1"},
      {"\"mesh\":\"\"", "\"mesh\":1"},
      {"\"weights-", "\"../weights-"},
      {"\"weights-", "\".weights-"},
      {"\"tokenizer.json\"", "\"/etc/passwd\""},
      {"\"bytes\":1", "\"bytes\":-1"},
      {"\"bytes\":1", "\"bytes\":18446744073709551615"},
      {"\"hidden_size\":64", "\"hidden_size\":-64"},
      {"\"hidden_size\":64", "\"hidden_size\":{}"},
      {"\"model_type\":\"llama\"", "\"model_type\":\"mamba\""},
      {"\"shape\":[160,64]", "\"shape\":[160,-64]"},
      {"\"shape\":[160,64]", "\"shape\":[]"},
      {"\"shape\":[160,64]", "\"shape\":[160.5,64.5]"},
      {"\"format\":\"F32\"", "\"format\":\"F31\""},
      {"\"tensors\":[", "\"tensors\":[1,"},
      {"\"config\":{", "\"config\":[{"},
  };
  for (const auto& [from, to] : lies) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    const auto parsed = parse_manifest(bad, "m");
    ASSERT_FALSE(parsed.ok()) << to;
    EXPECT_EQ(parsed.error().kind, ErrorKind::model) << to;
    EXPECT_EQ(parsed.error().message.substr(0, 1), "m") << to;
  }
}

using SlowPrepared = Prepared;

TEST_F(SlowPrepared, KernelModelsOfBothContainersHaveTheSameBits) {
  for (const std::string& model : kernel_models()) {
    for (const Container container : {Container::directory, Container::gguf}) {
      for (const Precision precision : kPrecisions)
        expect_same_bits(model_path(model, container), golden_path(model), precision);
    }
  }
}

TEST_F(SlowPrepared, EveryTypeHasTheSameBits) {
  const std::string quantised = folder_.file("quantised.gguf");
  for (const QuantizeType& type : quantize_types()) {
    const std::string in = model_path("kernel_llama3_6_2", Container::directory);
    const std::string out = type.is_scaled() ? folder_.file("scaled") : quantised;
    const auto written =
        type.is_scaled() ? quantize_scaled(in, out, type) : quantize(in, out, type.name);
    ASSERT_TRUE(written.ok()) << type.name << ": " << written.error().message;
    for (const Precision precision : {Precision::automatic, Precision::f32})
      expect_same_bits(out, golden_path("kernel_llama3_6_2"), precision);
  }
}

}  // namespace
}  // namespace dunlin

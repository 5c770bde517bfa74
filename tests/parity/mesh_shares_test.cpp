// What the devices of a mesh read: their shares of every container, and no more.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "backend/weight_share.h"
#include "base/counted_source.h"
#include "base/log.h"
#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/tiny_model.h"
#include "convert/quantize_on_load.h"
#include "golden_models.h"
#include "mesh_shares.h"
#include "models/registry.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MeshShares : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  // The kernel model in a type of quantize.
  std::unique_ptr<Checkpoint> quantized(const char* type) const {
    const std::string path = folder_.file("quantised.gguf");
    const auto done =
        quantize_model(model_path("kernel_llama3_6_2", Container::directory), path, type);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return open_checkpoint(path).value();
  }

  // Of tests/data/quantized.
  static std::string quantized_folder(const std::string& name) {
    for (const std::string& folder : quantized_folders())
      if (fs::path(folder).filename() == name) return folder;
    ADD_FAILURE() << name;
    return name;
  }

  TemporaryFolder folder_;
};

// A sharded safetensors file is among them.
TEST_F(MeshShares, DevicesReadTheirSharesOfEveryGoldenModel) {
  for (const std::string& model : committed_models()) {
    for (const Container container : {Container::directory, Container::gguf}) {
      const auto checkpoint = open_checkpoint(model_path(model, container)).value();
      for (const MeshShape& shape : test_meshes()) {
        if (!fills_stages(*checkpoint, shape)) continue;
        const std::string what =
            fmt::format("{} on {}", model_path(model, container), to_string(shape));
        const auto done = expect_shares(*checkpoint, shape, what);
        if (done.ok()) continue;
        EXPECT_FALSE(has_no_blocks(*checkpoint)) << what << ": " << done.error().message;
        EXPECT_THAT(done.error().message, HasSubstr("in blocks of")) << what;
      }
    }
  }
}

TEST_F(MeshShares, DevicesReadTheirSharesOfBlocks) {
  for (const char* type : {"Q8_0", "MXFP4", "BF16"}) {
    const auto checkpoint = quantized(type);
    for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.model = 3},
                                   MeshShape{.fsdp = 2}, MeshShape{.width = 3, .model = 16}}) {
      const std::string what = fmt::format("{} on {}", type, to_string(shape));
      const auto done = expect_shares(*checkpoint, shape, what);
      EXPECT_TRUE(done.ok()) << what << ": " << done.error().message;
    }
  }
}

// Scales for rows, the tensor and blocks of 128 x 128; embedding and output are plain.
TEST_F(MeshShares, DevicesReadTheirSharesOfScaledGoldens) {
  for (const std::string& folder : quantized_folders()) {
    const auto checkpoint = open_checkpoint(folder + "/model").value();
    int split = 0;
    for (const MeshShape& shape : test_meshes()) {
      if (!fills_stages(*checkpoint, shape)) continue;
      const std::string what = fmt::format("{} on {}", folder, to_string(shape));
      const auto done = expect_shares(*checkpoint, shape, what);
      split += done.ok() ? 1 : 0;
      if (done.ok()) continue;
      EXPECT_EQ(done.error().kind, ErrorKind::usage);
      EXPECT_THAT(done.error().message, HasSubstr("in blocks of")) << what;
    }
    EXPECT_GE(split, 4) << folder;
  }
}

TEST_F(MeshShares, DevicesReadTheirSharesOfScaledTypes) {
  const std::string in = model_path("kernel_llama3_6_2", Container::directory);
  for (const char* type : {"I8", "F8_E4M3", "F8_E4M3_B128", "F8_E5M2"}) {
    const std::string out = folder_.file(type);
    const auto made = scale_model(in, out, type);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const auto checkpoint = open_checkpoint(out).value();
    for (const MeshShape& shape :
         {MeshShape{.model = 2}, MeshShape{.model = 3}, MeshShape{.model = 8}, MeshShape{.fsdp = 2},
          MeshShape{.stage = 2}, MeshShape{.width = 3, .model = 4}}) {
      const std::string what = fmt::format("{} on {}", type, to_string(shape));
      const auto done = expect_shares(*checkpoint, shape, what);
      EXPECT_TRUE(done.ok()) << what << ": " << done.error().message;
    }
  }
}

// Nothing is written: rows and their scales are computed where they are asked for.
TEST_F(MeshShares, DevicesReadTheirSharesOfWhatIsQuantisedOnLoad) {
  for (const char* type : {"I8", "F8_E4M3", "Q8_0"}) {
    auto plain = open_checkpoint(model_path("llama_plain", Container::directory)).value();
    const auto checkpoint = quantize_on_load(std::move(plain), type);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.fsdp = 2}}) {
      const std::string what = fmt::format("{} on {}", type, to_string(shape));
      const auto done = expect_shares(**checkpoint, shape, what, Counted::sources);
      EXPECT_TRUE(done.ok()) << what << ": " << done.error().message;
    }
  }
}

TEST_F(MeshShares, AMeshThatCutsTheColumnsOfAScaleNamesThem) {
  const auto checkpoint = open_checkpoint(quantized_folder("fp8_block") + "/model").value();
  const auto width = expect_shares(*checkpoint, {.fsdp = 2}, "width");  // 160 columns
  ASSERT_FALSE(width.ok());
  EXPECT_EQ(width.error().kind, ErrorKind::usage);
  EXPECT_THAT(
      width.error().message,
      testing::MatchesRegex(
          "mesh fsdp=2: model.layers.0.self_attn.[qkv]_proj.weight is stored as F8_E4M3 in "
          "blocks of 128 columns, and the part of a device would begin or end at column 80, "
          "inside block 0; .*"));
  // Heads of 64 columns: one device would have half of a block.
  const AxisList rows = {{Axis::embed, 32}};
  const AxisList columns = {{Axis::kv_heads, 4}, {Axis::head_dim, 64}};
  WeightDeclaration output;
  output.name = "o";
  output.dims = {rows, columns};
  WeightView view{"o", Format::f8_e4m3, 32, 256, memory_source({}, "none"), 0, {}};
  view.scale_columns = 128;
  Sharding sharding{.shape = {.model = 4}};
  sharding.mesh.sizes[static_cast<size_t>(MeshAxis::kv)] = 4;
  const auto heads = weight_share(output, view, sharding, coordinates_of(sharding.mesh, 1));
  ASSERT_FALSE(heads.ok());
  EXPECT_THAT(heads.error().message, HasSubstr("would begin or end at column 64, inside block 0"));
  sharding.shape.model = 2;
  sharding.mesh.sizes[static_cast<size_t>(MeshAxis::kv)] = 2;
  EXPECT_TRUE(weight_share(output, view, sharding, coordinates_of(sharding.mesh, 1)).ok());
}

// 288 elements in blocks of 128 on two devices: 256 and 32, in all three matrices.
TEST_F(MeshShares, FfnMovesToTheBordersOfScales) {
  const auto checkpoint = open_checkpoint(quantized_folder("fp8_block") + "/model").value();
  const Program program = record_model(checkpoint->config(), {}).value();
  const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
  const Sharding sharding = shard_weights(program, weights, {.model = 2}).value();
  EXPECT_EQ(sharding.ffn_unit, 128);
  int matrices = 0;
  for (const WeightDeclaration& weight : program.weights) {
    if (weight.name.find("mlp") == std::string::npos) continue;
    ++matrices;
    const WeightView view = weights(weight.name).value();
    for (int64_t device = 0; device < 2; ++device) {
      const Coordinates place = coordinates_of(sharding.mesh, device);
      const WeightBox box = weight_share(weight, view, sharding, place).value();
      const bool down = weight.name.find("down") != std::string::npos;
      const IndexRuns& ffn = down ? box.columns : box.rows;
      EXPECT_EQ(ffn.extent, 256) << weight.name;
      EXPECT_EQ(ffn.count(), device == 0 ? 256 : 32) << weight.name;
    }
  }
  EXPECT_EQ(matrices, 3);
}

TEST_F(MeshShares, AMeshThatCutsABlockNamesIt) {
  const auto checkpoint = quantized("Q4_K_M");
  const auto heads = expect_shares(*checkpoint, {.model = 2}, "heads");  // 3 heads of 128 columns
  ASSERT_FALSE(heads.ok());
  EXPECT_EQ(heads.error().kind, ErrorKind::usage);
  EXPECT_THAT(heads.error().message,
              testing::MatchesRegex(
                  "mesh model=2: model.layers.0.self_attn.o_proj.weight is stored as Q[0-9]_K in "
                  "blocks of 256 columns, and the part of a device would begin or end at column "
                  "384, inside block 1; .*"));
  const auto width = expect_shares(*checkpoint, {.fsdp = 2}, "width");
  ASSERT_FALSE(width.ok());
  EXPECT_THAT(width.error().message, HasSubstr("mesh fsdp=2: model.embed_tokens.weight"));
  const auto whole = expect_shares(*checkpoint, {.stage = 2}, "stage=2");
  EXPECT_TRUE(whole.ok()) << whole.error().message;
}

// 2048 columns on 16 devices would be half a block each: eight devices have one, eight have none.
TEST_F(MeshShares, FfnMovesToTheBordersOfBlocks) {
  const auto checkpoint = quantized("Q4_K_S");
  const Program program = record_model(checkpoint->config(), {}).value();
  const WeightSource weights = [&](const std::string& name) { return checkpoint->weight(name); };
  const Sharding sharding = shard_weights(program, weights, {.model = 16}).value();
  EXPECT_EQ(sharding.ffn_unit, 256);
  for (int64_t device = 0; device < 16; ++device) {
    const Coordinates place = coordinates_of(sharding.mesh, device);
    for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
      const std::string weight = fmt::format("model.layers.1.mlp.{}.weight", name);
      const auto declared = std::ranges::find(program.weights, weight, &WeightDeclaration::name);
      ASSERT_NE(declared, program.weights.end());
      const auto box = weight_share(*declared, weights(weight).value(), sharding, place);
      ASSERT_TRUE(box.ok()) << box.error().message;
      const IndexRuns& ffn = weight.find("down") == std::string::npos ? box->rows : box->columns;
      EXPECT_EQ(ffn.extent, 256);
      EXPECT_EQ(ffn.count(), device < 8 ? 256 : 0) << name << " of device " << device;
    }
  }
}

TEST_F(MeshShares, DevicesReadTheirSharesOfASplitGguf) {
  const GgufBuilder whole = tiny_gguf("llama", true);
  std::map<std::string, std::string> files;
  for (uint16_t part = 0; part < 2; ++part) {
    GgufBuilder builder = whole;
    builder.tensors.clear();
    for (size_t i = part; i < whole.tensors.size(); i += 2)
      builder.tensors.push_back(whole.tensors[i]);
    builder.set("split.no", kU16, raw(part)).set("split.count", kU16, raw<uint16_t>(2));
    files[fmt::format("tiny-0000{}-of-00002.gguf", part + 1)] = builder.build();
  }
  const OpenPart open = [&](const std::string& path) -> Result<std::shared_ptr<const ByteSource>> {
    return source_of(files.at(path), path);
  };
  const auto checkpoint = open_gguf(*open("tiny-00001-of-00002.gguf"), open);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.model = 4}, MeshShape{.fsdp = 2},
                                 MeshShape{.fsdp = 4, .model = 3}}) {
    const auto done = expect_shares(**checkpoint, shape, to_string(shape));
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
}

// Llama 3 70B in BF16: 141 GB that take no space on disk. A device of 16 reads its share of a layer
// and of the head.
TEST_F(MeshShares, ADeviceReadsItsShareOfALargeModel) {
  constexpr int64_t kWidth = 8192, kLayers = 80, kFfn = 28672, kVocab = 128256;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  int64_t end = 0;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const int64_t begin = end;
    int64_t bytes = 2;
    for (const int64_t extent : shape) bytes *= extent;
    end += bytes;
    header[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, end}}};
  };
  add("model.embed_tokens.weight", {kVocab, kWidth});
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    add(layer + "input_layernorm.weight", {kWidth});
    add(layer + "post_attention_layernorm.weight", {kWidth});
    add(layer + "self_attn.q_proj.weight", {kWidth, kWidth});
    add(layer + "self_attn.k_proj.weight", {1024, kWidth});
    add(layer + "self_attn.v_proj.weight", {1024, kWidth});
    add(layer + "self_attn.o_proj.weight", {kWidth, kWidth});
    add(layer + "mlp.gate_proj.weight", {kFfn, kWidth});
    add(layer + "mlp.up_proj.weight", {kFfn, kWidth});
    add(layer + "mlp.down_proj.weight", {kWidth, kFfn});
  }
  add("model.norm.weight", {kWidth});
  add("lm_head.weight", {kVocab, kWidth});
  std::ofstream(folder_.file("config.json")) <<
      R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8192,
          "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
          "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
          "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
          "tie_word_embeddings": false})";
  const std::string text = header.dump();
  const std::string file = folder_.file("model.safetensors");
  std::ofstream(file, std::ios::binary) << raw<uint64_t>(text.size()) + text;
  if (::truncate(file.c_str(), static_cast<off_t>(8 + text.size()) + end) != 0)
    GTEST_SKIP() << "the file system has no files of that size";

  const auto checkpoint = open_checkpoint(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Program program = record_model((*checkpoint)->config(), {}).value();
  const WeightSource weights = [&](const std::string& name) { return (*checkpoint)->weight(name); };
  const Sharding sharding = shard_weights(program, weights, {.model = 16}).value();
  EXPECT_EQ(to_string(sharding.mesh), "kv=8,group=2");
  const Coordinates place = coordinates_of(sharding.mesh, 5);
  const auto count = std::make_shared<ReadCount>();
  uint64_t share = 0, all_shares = 0, all = 0;
  for (const WeightDeclaration& weight : program.weights) {
    WeightView view = weights(weight.name).value();
    const WeightBox box = weight_share(weight, view, sharding, place).value();
    all += static_cast<uint64_t>(view.rows * view.bytes_per_row());
    all_shares += stored_bytes(view, box);
    if (weight.name.find("layers.41.") == std::string::npos && weight.name != "lm_head.weight")
      continue;
    share += stored_bytes(view, box);
    view.source = std::make_shared<CountedSource>(view.source, count);
    const auto read =
        read_box(view, box, [](std::span<const std::byte>) { return Result<void>(); });
    ASSERT_TRUE(read.ok()) << read.error().message;
  }
  EXPECT_GT(all, 141'000'000'000u);
  // Norms are on every device, and keys and values on two.
  EXPECT_GT(all_shares, all / 16);
  EXPECT_LT(all_shares, all / 16 * 102 / 100);
  EXPECT_GT(share, 200'000'000u);
  EXPECT_LE(10 * count->bytes, 11 * share);
}

}  // namespace
}  // namespace dunlin

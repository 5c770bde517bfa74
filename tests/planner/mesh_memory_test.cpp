// What the planner says a device of a mesh holds of the weights, against the shares that
// `convert --to prepared --mesh` writes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/weight_share.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/prepared_files.h"
#include "convert/quantize_on_load.h"
#include "convert/write_prepared.h"
#include "models/registry.h"
#include "planner/memory.h"
#include "program/sharding.h"
#include "support/synthetic_model.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

const std::vector<MeshShape>& meshes() {
  static const std::vector<MeshShape> kMeshes = {{.model = 2},
                                                 {.model = 3},
                                                 {.model = 4},
                                                 {.model = 16},
                                                 {.fsdp = 2},
                                                 {.data = 2, .fsdp = 2},
                                                 {.width = 2, .model = 2}};
  return kMeshes;
}

class MeshMemory : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  // All BF16: 768 wide, 2048 in the ffn, 6 heads of 128, two layers.
  std::string kernel_model() const {
    const std::string out = folder_.file("kernel");
    if (fs::exists(out)) return out;
    fs::create_directory(out);
    const auto written = write_synthetic_directory(
        DUNLIN_SOURCE_DIR "/tests/data/kernel_llama3_6_2/recipe.json", out);
    EXPECT_TRUE(written.ok()) << written.error().message;
    return out;
  }
  std::unique_ptr<Checkpoint> kernel_in(const char* type) const {
    auto plain = open_checkpoint(kernel_model()).value();
    auto quantised = quantize_on_load(std::move(plain), type);
    EXPECT_TRUE(quantised.ok()) << quantised.error().message;
    return std::move(quantised).value();
  }

  TemporaryFolder folder_;
};

struct MeshPlanning {
  Program program;
  WeightSource weights;
  PlannedModel model;

  explicit MeshPlanning(const Checkpoint& checkpoint)
      : program(record_model(checkpoint.config(), {}).value()),
        weights([&checkpoint](const std::string& name) { return checkpoint.weight(name); }),
        model(program, weight_storage(program, weights).value(), parse_kv_storage("bf16").value(),
              parse_kv_storage("bf16").value()) {}
};

// Bytes of the weights of each shard, without its list of them.
std::vector<uint64_t> shard_bytes(const ShardPacker& packer) {
  std::vector<uint64_t> bytes;
  size_t part = 0;
  for (const size_t count : packer.parts_of_shards()) {
    bytes.push_back(0);
    for (size_t i = 1; i < count; ++i) bytes.back() += packer.parts()[part + i].bytes;
    part += count;
  }
  return bytes;
}

// Of every mesh that can be split; their number.
int expect_the_same(const Checkpoint& checkpoint, const std::string& what) {
  const MeshPlanning planning(checkpoint);
  int split = 0;
  for (const MeshShape& shape : meshes()) {
    const auto packer = ShardPacker::create(checkpoint, planning.program, shape);
    if (!packer.ok()) {
      EXPECT_EQ(packer.error().kind, ErrorKind::usage) << what;
      continue;
    }
    ++split;
    const std::string where = fmt::format("{} on {}", what, to_string(shape));
    const Sharding& sharding = (*packer)->sharding();
    EXPECT_EQ(planning.model.ffn_unit, sharding.ffn_unit) << where;
    const ShardedModel sharded{planning.model, sharding.mesh};
    const DeviceMemory memory = accelerator_memory(sharded, {});
    for (const uint64_t bytes : shard_bytes(**packer))
      EXPECT_EQ(static_cast<uint64_t>(memory.weights), bytes) << where;
  }
  return split;
}

TEST_F(MeshMemory, IsThatOfTheSharesOfEveryFormat) {
  for (const char* type : {"BF16", "Q8_0", "MXFP4", "I8", "F8_E4M3", "F8_E4M3_B128", "F8_E5M2"})
    EXPECT_EQ(expect_the_same(*kernel_in(type), type), std::ssize(meshes())) << type;
  // Their output is in Q6_K, whose blocks are longer than half of the width.
  for (const char* type : {"Q5_1", "Q4_0"}) EXPECT_EQ(expect_the_same(*kernel_in(type), type), 4);
}

// Scales of a row, of the tensor, and of blocks with ragged edges; experts in MXFP4 whose 32 columns
// no two devices can share; unquantised ones.
TEST_F(MeshMemory, IsThatOfTheSharesOfStoredModels) {
  const std::string data = DUNLIN_SOURCE_DIR "/tests/data/";
  for (const char* name : {"quantized/fp8_block", "quantized/fp8_channel", "quantized/fp8_tensor",
                           "quantized/int8_channel", "gpt_oss_mxfp4", "gpt_oss_bf16",
                           "llama_heads_9_3", "qwen2_tied"}) {
    const auto checkpoint = open_checkpoint(data + name + "/model").value();
    EXPECT_GE(expect_the_same(*checkpoint, name), 3) << name;
  }
}

// Blocks of 256 are longer than heads and half of the width, but each weight of the ffn can be split.
TEST_F(MeshMemory, IsThatOfEveryWeightThatCanBeSplit) {
  const auto checkpoint = kernel_in("Q4_K_S");
  const MeshPlanning planning(*checkpoint);
  for (const int64_t devices : {2, 3, 4, 16}) {
    const Sharding sharding =
        shard_weights(planning.program, planning.weights, {.model = devices}).value();
    EXPECT_EQ(sharding.ffn_unit, 256);
    const ShardedModel sharded{planning.model, sharding.mesh};
    int matrices = 0;
    for (size_t i = 0; i < planning.program.weights.size(); ++i) {
      const WeightDeclaration& weight = planning.program.weights[i];
      if (weight.name.find(".mlp.") == std::string::npos) continue;
      ++matrices;
      const WeightView view = planning.weights(weight.name).value();
      const auto share = weight_share(weight, view, sharding, coordinates_of(sharding.mesh, 1));
      ASSERT_TRUE(share.ok()) << share.error().message;
      EXPECT_EQ(static_cast<uint64_t>(resting_bytes(sharded, static_cast<WeightId>(i))),
                box_bytes(view, *share))
          << weight.name << " on " << devices;
    }
    EXPECT_EQ(matrices, 6);
  }
}

TEST_F(MeshMemory, IsThatOfTheFilesThatAreWritten) {
  const MeshShape shape{.model = 3};
  for (const char* type : {"Q8_0", "I8", "F8_E4M3"}) {
    const auto checkpoint = kernel_in(type);
    const MeshPlanning planning(*checkpoint);
    const auto packer = ShardPacker::create(*checkpoint, planning.program, shape).value();
    const std::string out = folder_.file(type);
    const auto written =
        write_shards(*checkpoint, *packer, out, [](uint64_t, uint64_t) { return Result<void>(); });
    ASSERT_TRUE(written.ok()) << written.error().message;
    const auto prepared = open_checkpoint(out).value();
    const ShardedModel sharded{planning.model, packer->sharding().mesh};
    const auto planned = static_cast<uint64_t>(accelerator_memory(sharded, {}).weights);
    ASSERT_EQ(std::ssize(prepared->prepared_files()->files()), 3);
    for (const PreparedFiles::File& file : prepared->prepared_files()->files())
      EXPECT_EQ(file.weights_bytes(), planned) << file.path;
  }
}

}  // namespace
}  // namespace dunlin

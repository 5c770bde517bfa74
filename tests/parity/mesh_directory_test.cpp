// Directories prepared for a mesh hold the same weights as their model, on one device and on any mesh.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "artifact/writer.h"
#include "base/byte_source.h"
#include "base/log.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/prepared_files.h"
#include "checkpoint/prepared_manifest.h"
#include "convert/gguf_tensors.h"
#include "convert/hf_tensors.h"
#include "convert/write_prepared.h"
#include "golden_models.h"
#include "mesh_shares.h"
#include "models/registry.h"
#include "parity/parity.h"
#include "support/conversion.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MeshDirectory : public testing::Test {
 protected:
  void SetUp() override {
    set_warning_sink([](const std::string&) {});  // these models have no tokenizer
  }

  static Result<size_t> shard(const std::string& in, const std::string& out,
                              const MeshShape& shape) {
    fs::remove_all(out);
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(in));
    DUNLIN_ASSIGN_OR_RETURN(const Program program, record_model(checkpoint->config(), {}));
    DUNLIN_ASSIGN_OR_RETURN(const auto packer, ShardPacker::create(*checkpoint, program, shape));
    return write_shards(*checkpoint, *packer, out, nothing);
  }

  // The weights of both are the same bytes.
  static void expect_same_weights(const std::string& a, const std::string& b) {
    const auto first = open_checkpoint(a);
    const auto second = open_checkpoint(b);
    ASSERT_TRUE(first.ok()) << first.error().message;
    ASSERT_TRUE(second.ok()) << second.error().message;
    EXPECT_EQ((*first)->weights().size(), (*second)->weights().size());
    for (const WeightInfo& weight : (*first)->weights()) {
      const WeightView one = (*first)->weight(weight.name).value();
      const WeightView other = (*second)->weight(weight.name).value();
      EXPECT_EQ(one.format, other.format) << weight.name;
      const WeightBox all{.rows = IndexRuns::all(one.rows), .columns = IndexRuns::all(one.columns)};
      EXPECT_TRUE(cut_out(one, all) == cut_out(other, all)) << b << ": " << weight.name;
    }
  }

  // Every value of the golden's prompt and continuation, as a file.
  std::string values(const std::string& model, const std::string& golden) const {
    const std::string dump = folder_.file("dump.safetensors");
    const auto report = compare_with_reference(
        model, golden, {.precision = Precision::automatic, .threads = 2, .dump = dump});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return content_of(dump);
  }

  TemporaryFolder folder_;
  const std::string out_ = folder_.file("out");
};

TEST_F(MeshDirectory, PreparedDirectoriesHoldTheSameModel) {
  for (const std::string& model : committed_models()) {
    for (const Container container : {Container::directory, Container::gguf}) {
      const std::string in = model_path(model, container);
      const auto source = open_checkpoint(in).value();
      for (const MeshShape& shape :
           {MeshShape{.data = 2, .model = 4}, MeshShape{.stage = 2, .fsdp = 2},
            MeshShape{.width = 2, .model = 3}, MeshShape{.expert = 2, .model = 2}}) {
        if (!fills_stages(*source, shape)) continue;
        const auto done = shard(in, out_, shape);
        ASSERT_TRUE(done.ok()) << in << " on " << to_string(shape) << ": " << done.error().message;
        const auto opened = open_checkpoint(out_);
        ASSERT_TRUE(opened.ok()) << opened.error().message;
        const Checkpoint& prepared = **opened;
        EXPECT_STREQ(prepared.container(), "prepared");
        EXPECT_EQ(prepared.prepared(), nullptr);
        EXPECT_TRUE(prepared.config().values() == source->config().values()) << in;
        EXPECT_EQ(fingerprint(prepared).value(), fingerprint(*source).value());
        EXPECT_EQ(std::ssize(prepared.prepared_files()->files()), shape.devices() / shape.data);
        EXPECT_TRUE(prepared.prepared_files()->check([](double) {}).ok());
        expect_same_weights(in, out_);
      }
    }
  }
}

TEST_F(MeshDirectory, PreparedDirectoriesOfBlocksHoldTheSameModel) {
  const std::string in = folder_.file("quantised.gguf");
  ASSERT_TRUE(
      quantize_model(model_path("kernel_llama3_6_2", Container::directory), in, "Q8_0").ok());
  for (const MeshShape& shape : {MeshShape{.model = 3}, MeshShape{.fsdp = 2, .model = 16}}) {
    const auto done = shard(in, out_, shape);
    ASSERT_TRUE(done.ok()) << to_string(shape) << ": " << done.error().message;
    expect_same_weights(in, out_);
  }
}

// Rows there begin with their scales, which are those of the model for every row and column.
TEST_F(MeshDirectory, PreparedDirectoriesOfScaledWeightsHoldTheSameModel) {
  const std::string again = folder_.file("again");
  const std::string direct = folder_.file("direct");
  for (const std::string& folder : quantized_folders()) {
    const std::string in = folder + "/model";
    const auto source = open_checkpoint(in).value();
    for (const MeshShape& shape : {MeshShape{.model = 2}, MeshShape{.data = 2, .model = 3},
                                   MeshShape{.model = 4}, MeshShape{.fsdp = 2, .model = 2}}) {
      const auto done = shard(in, out_, shape);
      if (!done.ok()) {
        EXPECT_FALSE(shape == MeshShape{.model = 2}) << in << ": " << done.error().message;
        continue;
      }
      const auto opened = open_checkpoint(out_);
      ASSERT_TRUE(opened.ok()) << opened.error().message;
      EXPECT_TRUE((*opened)->config().values() == source->config().values()) << in;
      EXPECT_EQ(fingerprint(**opened).value(), fingerprint(*source).value());
      EXPECT_TRUE((*opened)->prepared_files()->check([](double) {}).ok());
      expect_same_weights(in, out_);
      // Another mesh reads its shares from these, and they are written again to the same files.
      const auto shares = expect_shares(**opened, {.data = 2}, in);
      EXPECT_TRUE(shares.ok()) << shares.error().message;
      ASSERT_TRUE(shard(in, direct, {.model = 2}).ok());
      ASSERT_TRUE(shard(out_, again, {.model = 2}).ok());
      for (const char* name : {"/weights-00001-of-00002.dunlin", "/weights-00002-of-00002.dunlin"})
        EXPECT_TRUE(content_of(direct + name) == content_of(again + name)) << in << name;
    }
  }
}

TEST_F(MeshDirectory, OneDeviceComputesTheSameBitsFromScaledShards) {
  for (const std::string& folder : quantized_folders()) {
    const std::string golden = folder + "/golden.safetensors";
    ASSERT_TRUE(shard(folder + "/model", out_, {.model = 2}).ok()) << folder;
    const std::string wanted = values(folder + "/model", golden);
    ASSERT_GT(wanted.size(), 1000u);
    EXPECT_TRUE(values(out_, golden) == wanted) << folder;
  }
}

TEST_F(MeshDirectory, ScaleColumnsThatLieAreErrors) {
  PreparedManifest manifest;
  const auto source = open_checkpoint(model_path("llama_plain", Container::directory)).value();
  manifest.config = source->config();
  manifest.packing = kStoredPacking;
  TensorInfo& tensor = manifest.tensors.emplace_back();
  tensor.name = "w";
  tensor.shape = {8, 64};
  tensor.scale_columns = 64;
  const auto read = [&manifest](Format format, int64_t scale_columns) {
    manifest.tensors.front().format = format;
    std::string text = manifest_text(manifest);
    const std::string good = "\"scale_columns\":64";
    EXPECT_NE(text.find(good), std::string::npos);
    text.replace(text.find(good), good.size(), fmt::format("\"scale_columns\":{}", scale_columns));
    return parse_manifest(text, "m");
  };
  EXPECT_EQ(read(Format::f8_e4m3, 32).value().tensors.front().scale_columns, 32);
  EXPECT_EQ(read(Format::i8, 64).value().tensors.front().scale_columns, 64);
  for (const auto& [format, scale_columns] :
       {std::pair(Format::f8_e4m3, 65), std::pair(Format::f8_e4m3, -1), std::pair(Format::i8, 32),
        std::pair(Format::f32, 64)}) {
    const auto parsed = read(format, scale_columns);
    ASSERT_FALSE(parsed.ok()) << scale_columns;
    EXPECT_EQ(parsed.error().kind, ErrorKind::model);
    EXPECT_EQ(parsed.error().message.substr(0, 1), "m");
  }
}

// One device joins the shards; the tokens and all values are those of the model, bit for bit.
TEST_F(MeshDirectory, OneDeviceComputesTheSameBits) {
  for (const std::string& model :
       {std::string("llama_heads_9_3"), std::string("qwen2_tied"), std::string("gpt_oss_mxfp4")}) {
    for (const Container container : {Container::directory, Container::gguf}) {
      const std::string in = model_path(model, container);
      ASSERT_TRUE(shard(in, out_, {.fsdp = 2, .model = 4}).ok());
      const std::string wanted = values(in, golden_path(model));
      ASSERT_GT(wanted.size(), 1000u);
      EXPECT_TRUE(values(out_, golden_path(model)) == wanted) << in;
    }
  }
}

TEST_F(MeshDirectory, AnotherMeshReadsItsSharesToo) {
  const std::string in = model_path("llama_heads_9_3", Container::gguf);
  ASSERT_TRUE(shard(in, out_, {.model = 2}).ok());
  const auto prepared = open_checkpoint(out_).value();
  for (const MeshShape& shape : test_meshes()) {
    if (!fills_stages(*prepared, shape)) continue;
    const auto done = expect_shares(*prepared, shape, to_string(shape));
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  // And is written for it, to the same files as from the model but for its path and time.
  const std::string direct = folder_.file("direct");
  const std::string again = folder_.file("again");
  ASSERT_TRUE(shard(in, direct, {.fsdp = 2, .model = 3}).ok());
  ASSERT_TRUE(shard(out_, again, {.fsdp = 2, .model = 3}).ok());
  expect_same_weights(in, again);
  for (int i = 1; i <= 6; ++i) {
    const std::string name = fmt::format("/weights-0000{}-of-00006.dunlin", i);
    EXPECT_TRUE(content_of(direct + name) == content_of(again + name)) << name;
  }
}

TEST_F(MeshDirectory, EachKindOfWeightIsContiguousOverItsLayers) {
  ASSERT_TRUE(shard(model_path("llama_plain", Container::directory), out_, {.model = 2}).ok());
  const auto prepared = open_checkpoint(out_).value();
  for (const PreparedFiles::File& file : prepared->prepared_files()->files()) {
    size_t pairs = 0;
    for (const ArtifactChunk& chunk : file.reader.chunks()) {
      EXPECT_EQ(chunk.offset % 64, 0u) << chunk.name;
      const size_t layer = chunk.name.find("layers.0.");
      if (layer == std::string::npos) continue;
      std::string next = chunk.name;
      next.replace(layer, 9, "layers.1.");
      const ArtifactChunk* const found = file.reader.find(next);
      ASSERT_NE(found, nullptr) << next;
      EXPECT_EQ(found->offset, chunk.offset + chunk.bytes) << next;
      ++pairs;
    }
    EXPECT_EQ(pairs, 9u);
  }
}

// Gate and up of experts lie in turn, and in a shard far apart: both come from one reading of the share.
TEST_F(MeshDirectory, AShardIsMadeFromOneReadingOfItsShare) {
  for (const char* model :
       {"gpt_oss_bf16", "gpt_oss_merged", "gpt_oss_mxfp4", "gpt_oss_one_expert"}) {
    const auto checkpoint = open_checkpoint(model_path(model, Container::directory)).value();
    const Program program = record_model(checkpoint->config(), {}).value();
    for (const MeshShape& shape :
         {MeshShape{.model = 2}, MeshShape{.expert = 2}, MeshShape{.stage = 2}}) {
      const auto packer = ShardPacker::create(*checkpoint, program, shape).value();
      const std::vector<PreparedPart>& parts = packer->parts();
      std::vector<uint64_t> given(parts.size());
      int64_t pairs = 0;
      size_t part = 0;
      for (const size_t count : packer->parts_of_shards()) {
        uint64_t bytes = 0;
        const uint64_t before = file_reads().bytes;
        for (const size_t end = part + count; part < end; ++part) {
          bytes += parts[part].bytes;
          if (const auto other = packer->companion(part)) {
            EXPECT_EQ(packer->companion(*other), part);
            if (*other < part) continue;
            ++pairs;
          }
          const auto done = packer->pack(part, [&](size_t of, std::span<const std::byte> piece) {
            given[of] += piece.size();
            return Result<void>();
          });
          ASSERT_TRUE(done.ok()) << done.error().message;
        }
        EXPECT_LE(10 * (file_reads().bytes - before), 11 * bytes)
            << model << " on " << to_string(shape);
      }
      const int64_t layers = checkpoint->config().integer("num_hidden_layers", 1, 100).value();
      EXPECT_EQ(pairs, layers * shape.devices() / shape.stage);
      for (size_t i = 0; i < parts.size(); ++i)
        EXPECT_EQ(given[i], parts[i].bytes) << parts[i].name;
    }
  }
}

TEST_F(MeshDirectory, DamageAndMissingFilesAreFound) {
  ASSERT_TRUE(shard(model_path("llama_defaults", Container::gguf), out_, {.model = 2}).ok());
  const auto read_all = [this]() -> Result<void> {
    DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(out_));
    return checkpoint->prepared_files()->check([](double) {});
  };
  ASSERT_TRUE(read_all().ok());
  for (const auto& entry : fs::directory_iterator(out_)) {
    const std::string good = content_of(entry.path());
    const size_t step = std::max<size_t>(1, good.size() / 97);
    for (size_t at = 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      put(entry.path(), bad);
      const auto read = read_all();
      ASSERT_FALSE(read.ok()) << entry.path() << " at " << at;
      EXPECT_EQ(read.error().kind, ErrorKind::model) << entry.path() << " at " << at;
      EXPECT_THAT(read.error().message, HasSubstr(entry.path().filename().string()));
    }
    fs::remove(entry.path());
    EXPECT_FALSE(open_checkpoint(out_).ok()) << entry.path();
    put(entry.path(), good);
  }
  EXPECT_TRUE(read_all().ok());
}

// Checksums agree with whoever wrote the file, so what it says of its parts is checked too.
TEST_F(MeshDirectory, AShardThatLiesIsAnError) {
  ASSERT_TRUE(shard(model_path("llama_plain", Container::directory), out_, {.model = 2}).ok());
  const std::string path = out_ + "/weights-00002-of-00002.dunlin";
  const std::string good = content_of(path);
  // The second file with other contents.
  const auto with = [&](const std::function<void(ShardContents&)>& change) {
    put(path, good);
    {
      const ArtifactReader reader = ArtifactReader::open(path, kWeightsKind).value();
      const auto bytes = reader.read(kContentsChunk, 1 << 20).value();
      ShardContents contents =
          parse_contents(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "")
              .value();
      change(contents);
      const std::string text = contents_text(contents);
      ArtifactWriter writer =
          ArtifactWriter::create(path, {.kind = kWeightsKind, .key = reader.key()}).value();
      EXPECT_TRUE(writer.begin_chunk(kContentsChunk).ok());
      EXPECT_TRUE(writer.append(std::as_bytes(std::span(text))).ok());
      for (const ArtifactChunk& chunk : reader.chunks()) {
        if (chunk.name == kContentsChunk) continue;
        const auto data = reader.read(chunk.name, 1 << 24).value();
        EXPECT_TRUE(writer.begin_chunk(chunk.name).ok());
        EXPECT_TRUE(writer.append(data).ok());
      }
      EXPECT_TRUE(writer.commit().ok());
    }
    const auto opened = open_checkpoint(out_);
    return opened.ok() ? std::string() : opened.error().message;
  };
  EXPECT_EQ(with([](ShardContents&) {}), "");
  EXPECT_THAT(with([](ShardContents& c) { c.parts.pop_back(); }), HasSubstr("lacks a part"));
  EXPECT_THAT(with([](ShardContents& c) { std::swap(c.parts[0], c.parts[1]); }),
              HasSubstr("has no part of"));
  EXPECT_THAT(with([](ShardContents& c) { c.parts.push_back(c.parts.back()); }),
              HasSubstr("has no part of"));
  EXPECT_THAT(with([](ShardContents& c) {
                for (IndexRuns& runs : c.runs) runs.extent += 1;
              }),
              HasSubstr("its part of "));
  EXPECT_THAT(with([](ShardContents& c) {
                for (IndexRuns& runs : c.runs)
                  for (IndexRun& run : runs.runs) run.begin += 1 << 20;
              }),
              HasSubstr("lies outside"));
}

TEST_F(MeshDirectory, OtherContainersNeedTheModelItself) {
  const std::string in = model_path("llama_plain", Container::gguf);
  ASSERT_TRUE(shard(in, out_, {.model = 2}).ok());
  const auto prepared = open_checkpoint(out_).value();
  for (const Error& error : {gguf_tensors(*prepared).error(), hf_tensors(*prepared, {}).error()}) {
    EXPECT_EQ(error.kind, ErrorKind::usage);
    EXPECT_THAT(error.message, HasSubstr("take the model it was made from, " + in));
  }
}

}  // namespace
}  // namespace dunlin

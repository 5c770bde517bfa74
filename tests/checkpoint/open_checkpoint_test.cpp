// open_checkpoint on real paths: directories, shards, GGUF files, and everything that is none of
// them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "support/temporary_folder.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

class OpenCheckpoint : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.file(name); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  void write_model(bool biases = false, bool tied = false) const {
    write("config.json", tiny_config("llama", biases, tied));
    write("model.safetensors", safetensors_file(tiny_tensors(biases, tied)));
  }
  // The model in two shards, split by the first letter after "model.".
  void write_shards() const {
    std::map<std::string, TinyTensor> first;
    std::map<std::string, TinyTensor> second;
    std::string map;
    for (auto& [name, tensor] : tiny_tensors(false, false)) {
      const bool layer = name.find("layers") != std::string::npos;
      (layer ? first : second)[name] = tensor;
      map += (map.empty() ? "\"" : ", \"") + name + "\": \"" + (layer ? kFirst : kSecond) + "\"";
    }
    write("config.json", tiny_config());
    write(kFirst, safetensors_file(first));
    write(kSecond, safetensors_file(second));
    write(kIndex, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {" + map + "}}");
  }
  void replace_in(const std::string& name, const std::string& from, const std::string& to) const {
    std::ifstream in(path(name), std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    write(name, text.replace(at, from.size(), to));
  }
  void expect_error(const std::string& opened, const std::string& named,
                    const std::string& problem) const {
    expect_model_error([&] { return open_checkpoint(opened); }, named, problem);
  }
  void expect_model(const std::string& opened, bool biases = false, bool tied = false) const {
    const auto checkpoint = open_checkpoint(opened);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    for (const auto& [name, tensor] : tiny_tensors(biases, tied)) {
      EXPECT_EQ(weight_values(**checkpoint, name), tensor.values) << name;
    }
  }

  const std::string kFirst = "model-00001-of-00002.safetensors";
  const std::string kSecond = "model-00002-of-00002.safetensors";
  const std::string kIndex = "model.safetensors.index.json";
  TemporaryFolder folder_;
};

TEST_F(OpenCheckpoint, DirectoryOfOneFile) {
  write_model(true);
  expect_model(folder_.path(), true);
  expect_model(path("config.json"), true);
  expect_model(path("model.safetensors"), true);
  EXPECT_EQ(std::string((*open_checkpoint(folder_.path()))->container()), "safetensors");
  EXPECT_TRUE((*open_checkpoint(folder_.path()))->header().values().empty());
}

TEST_F(OpenCheckpoint, DirectoryOfShards) {
  write_shards();
  expect_model(folder_.path());
  expect_model(path(kIndex));
}

TEST_F(OpenCheckpoint, GgufFile) {
  write("tiny.gguf", tiny_gguf("llama", true).build());
  expect_model(path("tiny.gguf"), true);
}

TEST_F(OpenCheckpoint, GgufFileWithoutExtension) {
  write("sha256-abc", tiny_gguf("llama", true).build());
  expect_model(path("sha256-abc"), true);
}

TEST_F(OpenCheckpoint, BothContainersGiveOneConfiguration) {
  write_model(true);
  write("tiny.gguf", tiny_gguf("llama", true)
                         .u32("tokenizer.ggml.eos_token_id", 2)
                         .u32("tokenizer.ggml.bos_token_id", 1)
                         .build());
  EXPECT_EQ((*open_checkpoint(folder_.path()))->config().values(),
            (*open_checkpoint(path("tiny.gguf")))->config().values());
}

TEST_F(OpenCheckpoint, SymbolicLinksAreFollowed) {
  write_model();
  fs::rename(path("model.safetensors"), path("blob"));
  fs::create_symlink("blob", path("model.safetensors"));
  expect_model(folder_.path());
}

TEST_F(OpenCheckpoint, TiedModelIgnoresItsHead) {
  write("config.json", tiny_config("llama", false, true));
  write("model.safetensors", safetensors_file(tiny_tensors(false, false)));  // with lm_head.weight
  const auto checkpoint = open_checkpoint(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_FALSE((*checkpoint)->has_weight("lm_head.weight"));
  EXPECT_FALSE((*checkpoint)->weight("lm_head.weight").ok());
  EXPECT_TRUE((*checkpoint)->has_weight("model.embed_tokens.weight"));
}

TEST_F(OpenCheckpoint, RotaryBuffersOfOldFilesAreIgnored) {
  auto tensors = tiny_tensors(false, false);
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{3}, {1, 2, 3}};
  write("config.json", tiny_config());
  write("model.safetensors", safetensors_file(tensors));
  expect_model(folder_.path());
}

TEST_F(OpenCheckpoint, TensorTypeMayDifferFromTheConfiguration) {
  write_model();
  replace_in("config.json", "\"head_dim\"", "\"torch_dtype\": \"bfloat16\", \"head_dim\"");
  expect_model(folder_.path());
}

TEST_F(OpenCheckpoint, ShapesAreCheckedAgainstTheConfiguration) {
  write_model();
  replace_in("config.json", "\"vocab_size\": 12", "\"vocab_size\": 13");
  expect_error(folder_.path(), "model.safetensors",
               "has the shape [12, 8]; the configuration gives [13, 8]");
}

TEST_F(OpenCheckpoint, TensorOfAnotherModel) {
  auto tensors = tiny_tensors(false, false);
  tensors["model.layers.0.self_attn.q_norm.weight"] = {{3}, {1, 2, 3}};
  write("config.json", tiny_config());
  write("model.safetensors", safetensors_file(tensors));
  expect_error(folder_.path(), "model.safetensors", "q_norm.weight is not part of");
}

TEST_F(OpenCheckpoint, ZeroSizeWeight) {
  auto tensors = tiny_tensors(false, false);
  tensors["model.norm.weight"] = {{0}, {}};
  write("config.json", tiny_config());
  write("model.safetensors", safetensors_file(tensors));
  expect_error(folder_.path(), "model.safetensors", "has the shape [0]");
}

TEST_F(OpenCheckpoint, MissingPath) {
  expect_error(path("absent"), "absent", "No such file");
}

TEST_F(OpenCheckpoint, EmptyPath) {
  expect_error("", "", "No such file");
}

TEST_F(OpenCheckpoint, EmptyDirectory) {
  expect_error(folder_.path(), folder_.path(), "no config.json");
}

TEST_F(OpenCheckpoint, DirectoryWithoutWeights) {
  write("config.json", tiny_config());
  expect_error(folder_.path(), folder_.path(),
               "neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(OpenCheckpoint, UnknownFile) {
  write("model.onnx", "abc");
  expect_error(path("model.onnx"), "model.onnx", "neither a GGUF file nor");
}

TEST_F(OpenCheckpoint, Pickles) {
  for (const char* name : {"consolidated.00.pth", "pytorch_model.bin", "model.pt", "model.pkl"}) {
    write(name, "not even a pickle");
    expect_error(path(name), name, "convert the model to safetensors");
    expect_error(folder_.path(), name, "convert the model to safetensors");
    write("config.json", tiny_config());
    expect_error(folder_.path(), name, "convert the model to safetensors");
    fs::remove(path("config.json"));
    fs::remove(path(name));
  }
}

TEST_F(OpenCheckpoint, SymbolicLinkLoop) {
  fs::create_symlink("b.gguf", path("a.gguf"));
  fs::create_symlink("a.gguf", path("b.gguf"));
  expect_error(path("a.gguf"), "a.gguf", "symbolic links");
  write_model();
  fs::remove(path("model.safetensors"));
  fs::create_symlink("model.safetensors", path("model.safetensors"));
  expect_error(folder_.path(), "model.safetensors", "symbolic links");
}

TEST_F(OpenCheckpoint, Fifo) {
  ASSERT_EQ(::mkfifo(path("a.gguf").c_str(), 0600), 0);
  expect_error(path("a.gguf"), "a.gguf", "not a regular file");
  ASSERT_EQ(::mkfifo(path("config.json").c_str(), 0600), 0);
  expect_error(folder_.path(), "config.json", "not a regular file");
}

TEST_F(OpenCheckpoint, DirectoryInPlaceOfAFile) {
  fs::create_directory(path("a.gguf"));
  expect_error(path("a.gguf"), "a.gguf", "no config.json");
  write_model();
  fs::remove(path("model.safetensors"));
  fs::create_directory(path("model.safetensors"));
  expect_error(folder_.path(), "model.safetensors", "not a regular file");
}

TEST_F(OpenCheckpoint, EndlessDevice) {
  expect_error("/dev/zero", "/dev/zero", "not a regular file");
  write_model();
  fs::remove(path("config.json"));
  fs::create_symlink("/dev/zero", path("config.json"));
  expect_error(folder_.path(), "config.json", "not a regular file");
}

TEST_F(OpenCheckpoint, LargeConfig) {
  write_model();
  write("config.json", tiny_config() + std::string(10 << 20, ' '));
  expect_error(folder_.path(), "config.json", "bytes, more than");
}

TEST_F(OpenCheckpoint, BrokenGenerationConfig) {
  write_model();
  write("generation_config.json", "{");
  expect_error(folder_.path(), "generation_config.json", "not valid JSON");
}

TEST_F(OpenCheckpoint, ShardNamesThatLeaveTheDirectory) {
  for (const char* name :
       {"../model.safetensors", "/etc/passwd", "/etc/a.safetensors", "sub/a.safetensors", "..", "",
        "model.safetensors.index.json", "a.bin", "a\\u0000.safetensors"}) {
    write_shards();
    replace_in(kIndex, "\"" + kFirst + "\"", std::string("\"") + name + "\"");
    expect_error(folder_.path(), kIndex, "is not the name of a safetensors file beside the index");
  }
  write_shards();
  replace_in(kIndex, "\"" + kFirst + "\"", "[1]");
  expect_error(folder_.path(), kIndex, "is not the name of a safetensors file beside the index");
}

TEST_F(OpenCheckpoint, MissingShard) {
  write_shards();
  fs::remove(path(kSecond));
  expect_error(folder_.path(), kSecond, "No such file");
}

TEST_F(OpenCheckpoint, AShardThatWasCut) {
  for (const std::string& shard : {kFirst, kSecond}) {
    write_shards();
    const std::uintmax_t whole = fs::file_size(path(shard));
    for (const std::uintmax_t length :
         {whole - 1, whole / 2, std::uintmax_t{9}, std::uintmax_t{0}}) {
      write_shards();
      fs::resize_file(path(shard), length);
      expect_error(folder_.path(), shard, " bytes");
    }
  }
}

TEST_F(OpenCheckpoint, TensorInTwoShards) {
  for (const std::string& shard : {kFirst, kSecond}) {
    write_shards();
    write(shard,
          safetensors_file(tiny_tensors(false, false)));  // also what the index puts elsewhere
    expect_error(folder_.path(), shard, "is in this file, but");
  }
}

TEST_F(OpenCheckpoint, TensorMissingFromItsShard) {
  write_shards();
  replace_in(kIndex, "\"weight_map\": {", "\"weight_map\": {\"absent\": \"" + kFirst + "\", ");
  expect_error(folder_.path(), kFirst, "the tensor \"absent\" is missing");
}

TEST_F(OpenCheckpoint, IndexWithoutMap) {
  write_shards();
  for (const char* text : {"{}", "{\"weight_map\": []}", "{\"weight_map\": null}"}) {
    write(kIndex, text);
    expect_error(folder_.path(), kIndex, "weight_map is not an object");
  }
  write(kIndex, "{\"weight_map\": " + std::string(10000, '['));
  expect_error(folder_.path(), kIndex, "nested deeper");
}

TEST_F(OpenCheckpoint, IndexThatNamesItself) {
  write_shards();
  fs::remove(path(kFirst));
  fs::create_symlink(kIndex, path(kFirst));
  expect_error(folder_.path(), kFirst, "safetensors file");
}

TEST_F(OpenCheckpoint, FileThatShrinksAfterOpening) {
  write("tiny.gguf", tiny_gguf().build());
  const auto checkpoint = open_checkpoint(path("tiny.gguf"));
  ASSERT_TRUE(checkpoint.ok());
  fs::resize_file(path("tiny.gguf"), 100);
  const auto view = (*checkpoint)->weight("model.norm.weight");
  ASSERT_TRUE(view.ok());
  std::vector<std::byte> bytes(kHidden * 4);
  expect_model_error([&] { return view->read_rows(0, 1, bytes); }, "tiny.gguf", "became shorter");
}

}  // namespace
}  // namespace dunlin

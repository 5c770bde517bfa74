// `dunlin convert --to prepared --mesh` and `dunlin inspect --mesh`, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;

class MeshCommands : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(model_.path());
    ASSERT_EQ(run_dunlin({"convert", model_.path(), gguf_, "-q"}).code, 0);
  }

  static ProcessResult shard(const std::string& in, const std::string& out,
                             const std::string& mesh) {
    return run_dunlin({"convert", in, out, "--to", "prepared", "--mesh", mesh, "--json"});
  }
  // What commands that need the whole model print.
  static std::string outputs(const std::string& model) {
    std::string all;
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"tokenize", model, "Hello world, 123", "--ids"},
          {"inspect", model, "--template"},
          {"inspect", model, "--program"},
          {"run", model, "-n", "8", "--temp", "0", "Hello", "-q"},
          {"run", model, "-n", "8", "--temp", "0", "Hello", "-q", "--backend", "reference"}}) {
      const ProcessResult result = run_dunlin(words);
      EXPECT_EQ(result.code, 0) << words[0] << ": " << result.err;
      all += result.out;
    }
    return all;
  }

  TemporaryFolder model_, folder_;
  std::string gguf_ = folder_.file("model.gguf");
  std::string out_ = folder_.file("mesh");
};

TEST_F(MeshCommands, ADirectoryForAMeshIsAModelEverywhere) {
  for (const std::string& in : {model_.path(), gguf_}) {
    fs::remove_all(out_);
    const ProcessResult made = shard(in, out_, "model=2,fsdp=2");
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(made.json()["tensors"], 4 * 21);
    EXPECT_EQ(outputs(out_), outputs(in)) << in;

    const auto inspected = run_dunlin({"inspect", out_, "--json"}).json();
    EXPECT_EQ(inspected["container"], "prepared");
    const auto& prepared = inspected["prepared"];
    EXPECT_EQ(prepared["source"], in);
    EXPECT_EQ(prepared["packing"], "stored");
    EXPECT_EQ(prepared["mesh"], "fsdp=2,model=2");
    EXPECT_EQ(prepared["axes"], "fsdp=2,kv=2");
    ASSERT_EQ(prepared["shards"].size(), 4u);
    EXPECT_EQ(prepared["shards"][2]["file"], out_ + "/weights-00003-of-00004.dunlin");
    EXPECT_EQ(prepared["shards"][2]["place"], "fsdp=1,kv=0");
    EXPECT_EQ(prepared["shards"][2]["weights"], 21);
    EXPECT_GT(prepared["shards"][2]["bytes"], inspected["bytes"].get<int64_t>() / 5);
    EXPECT_THAT(run_dunlin({"inspect", out_}).out,
                ContainsRegex("weights-00003-of-00004.dunlin  fsdp=1,kv=0 +21  0\\.[0-9]"));

    EXPECT_EQ(run_dunlin({"inspect", out_, "--verify"}).out, out_ + ": all checksums agree\n");
    const std::string file = out_ + "/weights-00002-of-00004.dunlin";
    std::string bytes = read_all(file);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    write_all(file, bytes);
    const ProcessResult damaged = run_dunlin({"inspect", out_, "--verify"});
    EXPECT_EQ(damaged.code, 3);
    EXPECT_THAT(damaged.err, HasSubstr(file + ": damaged"));
  }
}

TEST_F(MeshCommands, ADirectoryForAMeshBecomesAnotherOrAPackedOne) {
  ASSERT_EQ(shard(gguf_, out_, "model=2").code, 0);
  const std::string other = folder_.file("other");
  ASSERT_EQ(shard(out_, other, "model=4,stage=2").code, 0);
  const std::string packed = folder_.file("packed");
  ASSERT_EQ(run_dunlin({"convert", other, packed, "--to", "prepared", "-q"}).code, 0);
  const auto text = [](const std::string& model) {
    return run_dunlin({"run", model, "-n", "8", "--temp", "0", "Hello", "-q"}).out;
  };
  EXPECT_EQ(text(other), text(gguf_));
  EXPECT_EQ(text(packed), text(gguf_));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"convert", out_, folder_.file("back.gguf")},
        {"convert", out_, folder_.file("back")},
        {"quantize", out_, folder_.file("small.gguf"), "Q8_0"}}) {
    const ProcessResult refused = run_dunlin(words);
    EXPECT_EQ(refused.code, 2) << words[0];
    EXPECT_THAT(refused.err, HasSubstr("is a prepared directory for a mesh, of which --to prepared "
                                       "makes others; for another container take the model it was "
                                       "made from, " +
                                       gguf_));
  }
}

TEST_F(MeshCommands, InspectTellsAndReadsTheShareOfADevice) {
  ASSERT_EQ(shard(gguf_, out_, "model=2").code, 0);
  for (const std::string& model : {model_.path(), gguf_, out_}) {
    const auto shards = run_dunlin({"inspect", model, "--mesh", "data=3,model=4", "--json"}).json();
    EXPECT_EQ(shards["mesh"], "data=3,model=4");
    EXPECT_EQ(shards["devices"], 12);
    ASSERT_EQ(shards["shards"].size(), 4u);
    uint64_t sum = 0;
    for (const auto& each : shards["shards"]) {
      sum += each["bytes_of_model"].get<uint64_t>();
      EXPECT_GE(each["bytes"], each["bytes_of_model"]);
    }
    EXPECT_GE(sum, shards["model_bytes"].get<uint64_t>());

    const auto read =
        run_dunlin({"inspect", model, "--mesh", "data=3,model=4", "--shard", "2", "--json"}).json();
    EXPECT_EQ(read["place"], shards["shards"][1]["place"]);
    EXPECT_EQ(read["bytes"], shards["shards"][1]["bytes"]);
    EXPECT_EQ(read["bytes_of_model"], shards["shards"][1]["bytes_of_model"]);
    EXPECT_LE(10 * read["bytes_read"].get<uint64_t>(), 11 * read["bytes_of_model"].get<uint64_t>());
    EXPECT_LT(read["bytes_of_model"].get<uint64_t>(), read["model_bytes"].get<uint64_t>() / 2);
  }
  const ProcessResult table = run_dunlin({"inspect", gguf_, "--mesh", "model=2"});
  EXPECT_THAT(table.out, HasSubstr("mesh model=2: 2 devices, 2 shards of the weights (kv=2)\n"));
  EXPECT_THAT(table.out, ContainsRegex(" +2  kv=1 +21 +0\\.[0-9] +0\\.[0-9]"));
  const ProcessResult read = run_dunlin({"inspect", gguf_, "--mesh", "model=2", "--shard", "2"});
  EXPECT_THAT(read.out, HasSubstr("shard       2 of 2 of the mesh model=2 (kv=1)\n"));
  EXPECT_THAT(read.out, ContainsRegex("read        0\\.[0-9] MB in [0-9]+ reads, 1\\.000 of"));
}

// Their directories have gate and up in one tensor, and down, where it is not MXFP4, the other way round.
TEST_F(MeshCommands, InspectReadsTheShareOfAMixture) {
  for (const char* model : {"gpt_oss_bf16", "gpt_oss_mxfp4"}) {
    for (const char* mesh : {"model=2", "fsdp=2"}) {
      const std::string path = test_data(std::string("data/") + model + "/model");
      const auto read =
          run_dunlin({"inspect", path, "--mesh", mesh, "--shard", "1", "--json"}).json();
      EXPECT_GE(read["bytes_read"].get<uint64_t>(), read["bytes_of_model"].get<uint64_t>());
      EXPECT_LE(10 * read["bytes_read"].get<uint64_t>(),
                11 * read["bytes_of_model"].get<uint64_t>())
          << model << " on " << mesh;
    }
  }
}

TEST_F(MeshCommands, Int8AndFp8TakeTheirScalesAlong) {
  for (const char* type : {"I8", "F8_E4M3", "F8_E4M3_B128"}) {
    const std::string model = folder_.file(type);
    ASSERT_EQ(run_dunlin({"quantize", model_.path(), model, type, "-q"}).code, 0) << type;
    const std::string out = model + "-mesh";
    const ProcessResult made = shard(model, out, "model=2");
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(outputs(out), outputs(model)) << type;
    EXPECT_EQ(run_dunlin({"inspect", out, "--verify"}).out, out + ": all checksums agree\n");
    for (const std::string& from : {model, out}) {
      const auto read =
          run_dunlin({"inspect", from, "--mesh", "model=2", "--shard", "2", "--json"}).json();
      EXPECT_LE(10 * read["bytes_read"].get<uint64_t>(),
                11 * read["bytes_of_model"].get<uint64_t>())
          << from;
    }
  }
}

TEST_F(MeshCommands, WrongMeshesAndShardsAreNamed) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--mesh", "model=2", "--shard", "3"}, "--shard 3: the mesh model=2 has 2 shards"},
      {{"--mesh", "model=2", "--shard", "0"}, "--shard"},
      {{"--shard", "1"}, "--mesh"},
      {{"--mesh", "rows=2"}, "\"rows\""},
      {{"--mesh", "fsdp=7"}, "cannot share evenly"},
      {{"--mesh", "model=2", "--tensors"}, "--tensors"},
  };
  for (const auto& [flags, message] : cases) {
    std::vector<std::string> words = {"inspect", gguf_};
    words.insert(words.end(), flags.begin(), flags.end());
    const ProcessResult result = run_dunlin(words);
    EXPECT_EQ(result.code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace dunlin

// Bytes of number formats, and which weights they apply to.
#include "planner/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "planned.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

int64_t bytes(const char* name, int64_t rows, int64_t columns) {
  return parse_storage(name).value().bytes(rows, columns);
}

TEST(Storage, KnowsFileFormatsAndThoseOfAccelerators) {
  EXPECT_EQ(bytes("bf16", 3, 64), 384);
  EXPECT_EQ(bytes("Q4_0", 3, 64), 3 * 2 * 18);
  EXPECT_EQ(bytes("q4_k", 1, 512), 288);
  EXPECT_EQ(bytes("int8", 3, 64), 3 * 66);
  EXPECT_EQ(bytes("fp8", 3, 64), 3 * 66);
  EXPECT_EQ(bytes("Q8_0", 1, 33), 2 * 34);  // a row's last block is whole
  const Error error = parse_storage("int7").error();
  EXPECT_EQ(error.kind, ErrorKind::usage);
  EXPECT_THAT(error.message, HasSubstr("\"int7\""));
  EXPECT_THAT(error.message, HasSubstr("Q4_0"));
}

TEST(Storage, KeysAndValuesHaveTheirOwnNames) {
  EXPECT_EQ(parse_kv_storage("bf16").value().bytes(8, 128), 2048);
  EXPECT_EQ(parse_kv_storage("q8_0").value().bytes(8, 128), 8 * 4 * 34);
  EXPECT_EQ(parse_kv_storage("int8").value().bytes(8, 128), 8 * 130);
  EXPECT_THAT(parse_kv_storage("BF17").error().message, HasSubstr("q8_0"));
}

TEST(Requantize, ChangesWhatIsMultiplied) {
  const Program program = gpt_oss_program({});
  const auto names = [&](const Requantization& to) {
    WeightStorage storage(program.weights.size());
    EXPECT_TRUE(requantize(program, to, storage).ok());
    std::map<std::string, std::string> result;
    for (size_t i = 0; i < storage.size(); ++i) result[program.weights[i].name] = storage[i].name;
    return result;
  };
  auto changed = names({.matrices = "int8", .vocabulary = ""});
  EXPECT_EQ(changed["lm_head.weight"], "int8");
  EXPECT_EQ(changed["model.layers.0.self_attn.q_proj.weight"], "int8");
  EXPECT_EQ(changed["model.layers.1.mlp.experts.down_proj.weight"], "int8");
  EXPECT_EQ(changed["model.layers.1.mlp.experts.down_proj.bias"], "BF16");
  EXPECT_EQ(changed["model.layers.1.mlp.router.weight"], "BF16");
  EXPECT_EQ(changed["model.embed_tokens.weight"], "BF16");
  EXPECT_EQ(changed["model.norm.weight"], "BF16");
  changed = names({.matrices = "int8", .vocabulary = "Q8_0"});
  EXPECT_EQ(changed["lm_head.weight"], "Q8_0");
  EXPECT_EQ(changed["model.embed_tokens.weight"], "Q8_0");
  WeightStorage storage(program.weights.size());
  EXPECT_FALSE(requantize(program, {.matrices = "nope", .vocabulary = ""}, storage).ok());
}

// Bytes of a matrix and of a table [2, 512] that are stored in this format.
std::pair<int64_t, int64_t> held(const Program& program, const std::string& name,
                                 Platform platform) {
  WeightStorage storage(program.weights.size(), parse_storage(name).value());
  hold_on(program, platform, storage);
  int64_t matrix = 0;
  int64_t table = 0;
  for (size_t i = 0; i < storage.size(); ++i) {
    if (program.weights[i].name == "model.layers.0.self_attn.q_proj.weight")
      matrix = storage[i].bytes(2, 512);
    if (program.weights[i].name == "model.embed_tokens.weight") table = storage[i].bytes(2, 512);
  }
  return {matrix, table};
}

TEST(HoldOn, BytesAreThoseOfTheDevicesForms) {
  const Program program = gpt_oss_program({});
  using Bytes = std::pair<int64_t, int64_t>;
  const int64_t rows_in_bytes = 2 * (512 + 16 * 4);  // codes and a float32 for 32 of them
  // Four bits and a float32 for 32 columns; with minimums two; a byte of exponent.
  EXPECT_EQ(held(program, "Q4_0", Platform::tpu), Bytes(2 * (256 + 16 * 4), rows_in_bytes));
  EXPECT_EQ(held(program, "Q4_K", Platform::tpu), Bytes(2 * (256 + 16 * 8), 2 * (512 + 16 * 8)));
  EXPECT_EQ(held(program, "MXFP4", Platform::tpu), Bytes(2 * (256 + 16), rows_in_bytes));
  EXPECT_EQ(held(program, "I8", Platform::tpu), Bytes(2 * (512 + 4), 2 * (512 + 4)));
  EXPECT_EQ(held(program, "I8", Platform::gpu), Bytes(2 * (512 + 4), 2 * (512 + 4)));
  EXPECT_EQ(held(program, "Q4_0", Platform::gpu), Bytes(2 * 1024, rows_in_bytes));
  EXPECT_EQ(held(program, "F8_E4M3", Platform::tpu), Bytes(2 * 1024, 2 * 2048));
  // What is no format of files, and devices of which nothing is known.
  EXPECT_EQ(held(program, "int8", Platform::tpu), Bytes(2 * 514, 2 * 514));
  EXPECT_EQ(held(program, "Q4_0", Platform::other), Bytes(2 * 288, 2 * 288));
}

// Shares are cut between the blocks of the file, whatever a device makes of them.
TEST(HoldOn, BlocksStayAsLongAsTheyAre) {
  GptOssSizes sizes;
  sizes.ffn = 512;
  const Program program = gpt_oss_program(sizes);
  WeightStorage storage(program.weights.size(), parse_storage("Q4_K").value());
  EXPECT_EQ(ffn_unit_of(program, storage), 256);
  hold_on(program, Platform::gpu, storage);
  EXPECT_EQ(ffn_unit_of(program, storage), 256);
}

}  // namespace
}  // namespace dunlin

// Bytes of number formats, and which weights they apply to.
#include "planner/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace dunlin

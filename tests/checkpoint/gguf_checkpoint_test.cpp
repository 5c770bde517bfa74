// A GGUF file as a Checkpoint: canonical configuration, canonical rows, and headers that contradict
// themselves.
#include "checkpoint/gguf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "tiny_model.h"

namespace dunlin {
namespace {

using testing::ElementsAre;

void expect_checkpoint_error(const GgufBuilder& builder, const std::string& problem) {
  expect_model_error([&] { return open_gguf_bytes(builder.build()); }, "tiny.gguf", problem);
}

std::unique_ptr<Checkpoint> open(const GgufBuilder& builder) {
  auto checkpoint = open_gguf_bytes(builder.build());
  if (!checkpoint.ok()) throw std::runtime_error(checkpoint.error().message);
  return std::move(checkpoint).value();
}

void expect_canonical_values(const Checkpoint& checkpoint, bool biases, bool tied) {
  for (const auto& [name, tensor] : tiny_tensors(biases, tied)) {
    EXPECT_EQ(weight_values(checkpoint, name), tensor.values) << name;
    const auto view = checkpoint.weight(name);
    EXPECT_EQ(view->rows, tensor.shape.size() == 2 ? tensor.shape[0] : 1) << name;
    EXPECT_EQ(view->columns, tensor.shape.back()) << name;
  }
}

TEST(GgufCheckpoint, LlamaRowsAndBiasesAreInCanonicalOrder) {
  expect_canonical_values(*open(tiny_gguf("llama", true)), true, false);
}

TEST(GgufCheckpoint, Qwen2RowsAreNotPermuted) {
  const auto checkpoint = open(tiny_gguf("qwen2", true));
  expect_canonical_values(*checkpoint, true, false);
  EXPECT_TRUE(checkpoint->weight("model.layers.0.self_attn.q_proj.bias")->row_map.identity());
}

TEST(GgufCheckpoint, QuantisedQueryRowsAreInCanonicalOrder) {
  GgufBuilder builder = tiny_gguf();
  for (const char* name : {"token_embd", "output", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v",
                           "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.attn_output"}) {
    GgufTensor& tensor = builder.tensor(std::string(name) + ".weight");
    if (tensor.extents[0] == kHidden) tensor.extents[0] = 32;
    if (tensor.extents[1] == kHidden) tensor.extents[1] = 32;
    tensor.data = raw_floats(std::vector<float>(tensor.extents[0] * tensor.extents[1], 1.0f));
  }
  GgufTensor& down = builder.tensor("blk.0.ffn_down.weight");
  down.extents[1] = 32;
  down.data = raw_floats(std::vector<float>(down.extents[0] * 32, 1.0f));
  for (const char* name :
       {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"}) {
    builder.tensor(name).extents = {32};
    builder.tensor(name).data = raw_floats(std::vector<float>(32, 1.0f));
  }
  builder.u32("llama.embedding_length", 32);
  GgufTensor& query = builder.tensor("blk.0.attn_q.weight");
  query.type = 8;
  query.data.clear();
  for (int row = 0; row < kHeads * kHeadDim; ++row) {
    query.data += raw<uint16_t>(0x3c00) +
                  std::string(32, static_cast<char>(row));  // Q8_0: scale 1, codes `row`
  }
  const auto values = weight_values(*open(builder), "model.layers.0.self_attn.q_proj.weight");
  const std::vector<float> stored_of_canonical = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
  for (size_t row = 0; row < stored_of_canonical.size(); ++row) {
    EXPECT_EQ(values[row * 32], stored_of_canonical[row]);
    EXPECT_EQ(values[row * 32 + 31], stored_of_canonical[row]);
  }
}

TEST(GgufCheckpoint, ConfigurationHasCanonicalKeys) {
  const auto checkpoint = open(tiny_gguf("llama", true)
                                   .u32("tokenizer.ggml.bos_token_id", 1)
                                   .u32("tokenizer.ggml.eos_token_id", 2)
                                   .u32("tokenizer.ggml.eot_token_id", 3)
                                   .u32("tokenizer.ggml.eom_token_id", 2)
                                   .f32("general.sampling.temp", 0.5f)
                                   .set("general.sampling.top_k", kI32, raw<int32_t>(40)));
  const Metadata& config = checkpoint->config();
  EXPECT_EQ(*config.text("model_type"), "llama");
  EXPECT_EQ(*config.integer("hidden_size", 0, 100), kHidden);
  EXPECT_EQ(*config.integer("intermediate_size", 0, 100), kIntermediate);
  EXPECT_EQ(*config.integer("num_hidden_layers", 0, 100), 1);
  EXPECT_EQ(*config.integer("num_attention_heads", 0, 100), kHeads);
  EXPECT_EQ(*config.integer("num_key_value_heads", 0, 100), 1);
  EXPECT_EQ(*config.integer("head_dim", 0, 100), kHeadDim);
  EXPECT_EQ(*config.integer("vocab_size", 0, 100), kVocabulary);
  EXPECT_EQ(*config.integer("max_position_embeddings", 0, 1000), 128);
  EXPECT_EQ(*config.number("rms_norm_eps", 0, 1), 0.25);
  EXPECT_EQ(*config.number("rope_theta", 0, 1e6), 500000.0);
  EXPECT_EQ(*config.boolean("tie_word_embeddings"), false);
  EXPECT_EQ(*config.boolean("attention_bias"), true);
  EXPECT_EQ(*config.boolean("mlp_bias"), false);
  EXPECT_EQ(*config.text("hidden_act"), "silu");
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "default");
  EXPECT_FALSE(config.has("rope_freq_divisors"));
  EXPECT_EQ(*config.integer("bos_token_id", 0, 100), 1);
  EXPECT_THAT(std::get<std::vector<int64_t>>(*config.find("eos_token_id")), ElementsAre(2, 3));
  EXPECT_EQ(*config.number("generation.temperature", 0, 1), 0.5);
  EXPECT_EQ(*config.integer("generation.top_k", 0, 100), 40);
  EXPECT_EQ(std::string(checkpoint->container()), "gguf");
  EXPECT_EQ(checkpoint->path(), "tiny.gguf");
  EXPECT_EQ(*checkpoint->header().text("general.architecture"), "llama");
}

TEST(GgufCheckpoint, OptionalKeysHaveDefaults) {
  GgufBuilder builder = tiny_gguf();
  builder.without("llama.attention.key_length")
      .without("llama.vocab_size")
      .without("llama.rope.freq_base");
  builder.without("llama.rope.dimension_count").u32("llama.attention.head_count", 2);
  builder.u32("llama.embedding_length", 12);
  const auto config_of = [](const GgufBuilder& file) { return open_gguf_bytes(file.build()); };
  expect_checkpoint_error(
      builder, "has the shape");  // head_dim is now 12 / 2, but the tensors have rows of 8
  GgufBuilder whole = tiny_gguf("llama", false, true);
  whole.without("llama.vocab_size").without("llama.rope.freq_base");
  const auto checkpoint = config_of(whole);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(*(*checkpoint)->config().integer("vocab_size", 0, 100), kVocabulary);
  EXPECT_EQ(*(*checkpoint)->config().number("rope_theta", 0, 1e6), 10000.0);
  EXPECT_TRUE(*(*checkpoint)->config().boolean("tie_word_embeddings"));
  EXPECT_TRUE(
      std::get<std::vector<int64_t>>(*(*checkpoint)->config().find("eos_token_id")).empty());
}

TEST(GgufCheckpoint, RopeDivisorsComeFromTheirTensor) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.push_back({"rope_freqs.weight", {3}, 0, raw_floats({1.0f, 2.5f, 8.0f})});
  const auto checkpoint = open(builder);
  EXPECT_EQ(*checkpoint->config().find("rope_freq_divisors"),
            Metadata::Value(std::vector<double>{1.0, 2.5, 8.0}));
  EXPECT_EQ(*checkpoint->config().text("rope_scaling.rope_type"), "default");
}

TEST(GgufCheckpoint, RopeDivisorsThatCannotBe) {
  const auto with_divisors = [](GgufTensor tensor) {
    GgufBuilder builder = tiny_gguf();
    builder.tensors.push_back(std::move(tensor));
    return builder;
  };
  const std::string name = "rope_freqs.weight";
  expect_checkpoint_error(with_divisors({name, {2}, 0, raw_floats({1, 1})}), "is not F32 [3]");
  expect_checkpoint_error(with_divisors({name, {3}, 1, std::string(6, 'a')}), "is not F32 [3]");
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    expect_checkpoint_error(with_divisors({name, {3}, 0, raw_floats({1, bad, 1})}),
                            "not a divisor");
  }
}

TEST(GgufCheckpoint, MissingWeightNamesBothNames) {
  GgufBuilder builder = tiny_gguf();
  std::erase_if(builder.tensors,
                [](const GgufTensor& tensor) { return tensor.name == "blk.0.ffn_up.weight"; });
  const auto checkpoint = open(builder);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  EXPECT_FALSE(checkpoint->has_weight(name));
  expect_model_error([&] { return checkpoint->weight(name); }, "tiny.gguf",
                     "blk.0.ffn_up.weight (" + name + ")");
}

TEST(GgufCheckpoint, TensorsListStoredAndCanonicalNames) {
  const auto checkpoint = open(tiny_gguf());
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    if (tensor.name != "blk.0.attn_output.weight") continue;
    EXPECT_EQ(tensor.canonical_name, "model.layers.0.self_attn.o_proj.weight");
    EXPECT_THAT(tensor.shape, ElementsAre(kHidden, kHeads * kHeadDim));
    EXPECT_EQ(tensor.bytes, 4u * kHidden * kHeads * kHeadDim);
    EXPECT_EQ(tensor.file, "tiny.gguf");
    return;
  }
  FAIL() << "blk.0.attn_output.weight is not listed";
}

TEST(GgufContradiction, ArchitectureUnknownOrMissing) {
  expect_checkpoint_error(tiny_gguf().without("general.architecture"),
                          "general.architecture is missing");
  expect_checkpoint_error(tiny_gguf().text("general.architecture", "mamba"),
                          "models of type \"mamba\" are not supported; supported: llama, qwen2");
  expect_checkpoint_error(tiny_gguf().u32("general.architecture", 1),
                          "general.architecture is not a string");
}

TEST(GgufContradiction, RequiredKeysMissing) {
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length",
        "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    const std::string name = std::string("llama.") + key;
    expect_checkpoint_error(tiny_gguf().without(name), name + " is missing");
  }
}

TEST(GgufContradiction, SizesOutOfRange) {
  expect_checkpoint_error(tiny_gguf().u32("llama.attention.head_count", 0),
                          "llama.attention.head_count is 0");
  expect_checkpoint_error(tiny_gguf().u32("llama.attention.head_count_kv", 0),
                          "llama.attention.head_count_kv is 0");
  expect_checkpoint_error(tiny_gguf().u32("llama.block_count", 1000000000),
                          "llama.block_count is 1000000000");
  expect_checkpoint_error(tiny_gguf().u32("llama.vocab_size", 1u << 31),
                          "llama.vocab_size is 2147483648");
  expect_checkpoint_error(tiny_gguf().set("llama.context_length", kU64, raw(UINT64_C(1) << 63)),
                          "llama.context_length");
  expect_checkpoint_error(tiny_gguf().set("llama.context_length", kI64, raw(INT64_MAX)),
                          "llama.context_length");
  expect_checkpoint_error(tiny_gguf().set("llama.embedding_length", kI32, raw<int32_t>(-8)),
                          "llama.embedding_length is -8");
  expect_checkpoint_error(tiny_gguf().text("llama.embedding_length", "8"),
                          "llama.embedding_length is not an integer");
}

TEST(GgufContradiction, EpsilonIsNotANumber) {
  const std::string key = "llama.attention.layer_norm_rms_epsilon";
  expect_checkpoint_error(tiny_gguf().f32(key, std::numeric_limits<float>::quiet_NaN()), key);
  expect_checkpoint_error(tiny_gguf().f32(key, -1.0f), key);
  expect_checkpoint_error(
      tiny_gguf().f32("llama.rope.freq_base", std::numeric_limits<float>::infinity()),
      "llama.rope.freq_base");
}

TEST(GgufContradiction, HeadsDoNotDivide) {
  expect_checkpoint_error(tiny_gguf().u32("llama.attention.head_count_kv", 3),
                          "are not a multiple of 3 key-value heads");
  expect_checkpoint_error(
      tiny_gguf().without("llama.attention.key_length").u32("llama.attention.head_count", 3),
      "is not a multiple of num_attention_heads 3");
}

TEST(GgufContradiction, RopeWidth) {
  expect_checkpoint_error(tiny_gguf().u32("llama.rope.dimension_count", 5),
                          "llama.rope.dimension_count is 5");
  expect_checkpoint_error(tiny_gguf().u32("llama.attention.value_length", 4),
                          "llama.attention.value_length is 4");
  expect_checkpoint_error(tiny_gguf().u32("llama.attention.key_length", 7), "odd");
}

TEST(GgufContradiction, RopeScalingOfAnotherKind) {
  expect_checkpoint_error(tiny_gguf().text("llama.rope.scaling.type", "linear"),
                          "\"linear\" is not supported");
  expect_checkpoint_error(tiny_gguf().text("llama.rope.scaling.type", "yarn"),
                          "llama.rope.scaling.factor");
  // Without a type a factor is linear.
  expect_checkpoint_error(tiny_gguf().f32("llama.rope.scaling.factor", 4.0f),
                          "\"linear\" is not supported");
  expect_checkpoint_error(tiny_gguf().f32("llama.rope.scale_linear", 4.0f),
                          "\"linear\" is not supported");
  EXPECT_TRUE(open_gguf_bytes(tiny_gguf().f32("llama.rope.scaling.factor", 1.0f).build()).ok());
  EXPECT_TRUE(open_gguf_bytes(tiny_gguf().f32("llama.rope.scale_linear", 1.0f).build()).ok());
  // The new name comes first.
  EXPECT_TRUE(open_gguf_bytes(tiny_gguf()
                                  .f32("llama.rope.scaling.factor", 1.0f)
                                  .f32("llama.rope.scale_linear", 4.0f)
                                  .build())
                  .ok());
  EXPECT_TRUE(open_gguf_bytes(tiny_gguf().text("llama.rope.scaling.type", "none").build()).ok());
}

// Little-endian files of version 2 and 3 are the same but for the number.
TEST(Gguf, Version2) {
  GgufBuilder builder = tiny_gguf();
  builder.version = 2;
  const auto model = open_gguf_bytes(builder.build());
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto newer = open_gguf_bytes(tiny_gguf().build());
  EXPECT_EQ((*model)->config().values(), (*newer)->config().values());
  EXPECT_EQ(weight_values(**model, "model.embed_tokens.weight"),
            weight_values(**newer, "model.embed_tokens.weight"));
}

TEST(GgufContradiction, MixtureOfExperts) {
  expect_checkpoint_error(
      tiny_gguf().u32("llama.expert_count", 8).u32("llama.expert_used_count", 9),
      "expert_count is 8");
}

TEST(GgufContradiction, PartOfASplitFile) {
  GgufBuilder builder = tiny_gguf();
  builder.set("split.count", kU16, raw<uint16_t>(3));
  expect_checkpoint_error(builder, "split.no");
  builder.set("split.no", kU16, raw<uint16_t>(0));
  expect_checkpoint_error(builder, "ends in -00001-of-00003.gguf");
}

TEST(GgufContradiction, ShapesAgainstTheConfiguration) {
  expect_checkpoint_error(tiny_gguf().u32("llama.vocab_size", 13),
                          "has the shape [12, 8]; the configuration gives [13, 8]");
  expect_checkpoint_error(tiny_gguf().u32("llama.feed_forward_length", 11), "has the shape");
  GgufBuilder builder = tiny_gguf();
  builder.tensor("output_norm.weight").extents = {kHidden, 1};
  expect_checkpoint_error(builder, "output_norm.weight has the shape [1, 8]");
}

TEST(GgufContradiction, TensorOfAnotherModel) {
  GgufBuilder builder = tiny_gguf();
  builder.tensors.push_back({"blk.0.attn_q_norm.weight", {4}, 0, std::string(16, 'a')});
  expect_checkpoint_error(builder, "blk.0.attn_q_norm.weight is not part of a llama model");
}

TEST(GgufContradiction, TokenizerArrays) {
  GgufBuilder builder = tiny_gguf();
  builder.array("tokenizer.ggml.tokens", kString, 2, raw_string("a") + raw_string("b"));
  EXPECT_TRUE(open_gguf_bytes(builder.build()).ok());
  const auto with = [&](const char* key, uint32_t type, uint64_t count,
                        const std::string& elements) {
    GgufBuilder copy = builder;
    return copy.array(key, type, count, elements);
  };
  expect_checkpoint_error(with("tokenizer.ggml.tokens", kU8, 2, "ab"),
                          "tokenizer.ggml.tokens is not a list of strings");
  expect_checkpoint_error(with("tokenizer.ggml.token_type", kI32, 1, "abcd"),
                          "a list of 2 integers");
  expect_checkpoint_error(with("tokenizer.ggml.token_type", kU8, 3, "abc"), "a list of 2 integers");
  expect_checkpoint_error(with("tokenizer.ggml.token_type", kF32, 2, "abcdefgh"),
                          "a list of 2 integers");
  expect_checkpoint_error(with("tokenizer.ggml.scores", kU8, 2, "ab"), "a list of 2 numbers");
  expect_checkpoint_error(with("tokenizer.ggml.scores", kF32, 1, "abcd"), "a list of 2 numbers");
  expect_checkpoint_error(with("tokenizer.ggml.merges", kI8, 1, "a"),
                          "tokenizer.ggml.merges is not a list of strings");
  expect_checkpoint_error(tiny_gguf().array("tokenizer.ggml.scores", kF32, 1, "abcd"),
                          "a list of 0 numbers");
}

TEST(GgufContradiction, SpecialTokenIds) {
  expect_checkpoint_error(tiny_gguf().set("tokenizer.ggml.eos_token_id", kI32, raw<int32_t>(-1)),
                          "tokenizer.ggml.eos_token_id is -1");
  expect_checkpoint_error(tiny_gguf().text("tokenizer.ggml.bos_token_id", "1"),
                          "tokenizer.ggml.bos_token_id is not an integer");
}

GgufBuilder dream() {
  return tiny_gguf("dream").u32("tokenizer.ggml.mask_token_id", 11);
}

TEST(GgufDream, HasItsMaskAndPadding) {
  const auto plain = open(dream());
  expect_canonical_values(*plain, false, false);
  EXPECT_EQ(*plain->config().text("model_type"), "Dream");
  EXPECT_EQ(*plain->config().integer("mask_token_id", 0, 100), 11);
  EXPECT_TRUE(*plain->config().boolean("diffusion.shift_logits"));
  EXPECT_FALSE(plain->config().has("pad_token_id"));
  const auto whole = open(dream()
                              .u32("tokenizer.ggml.padding_token_id", 3)
                              .set("dream.attention.causal", kBool, raw<uint8_t>(0))
                              .set("diffusion.shift_logits", kBool, raw<uint8_t>(0)));
  EXPECT_EQ(*whole->config().integer("pad_token_id", 0, 100), 3);
  EXPECT_FALSE(*whole->config().boolean("diffusion.shift_logits"));
}

TEST(GgufDream, WrongOnesNameTheirKey) {
  expect_checkpoint_error(tiny_gguf("dream"), "tokenizer.ggml.mask_token_id is missing");
  expect_checkpoint_error(dream().set("dream.attention.causal", kBool, raw<uint8_t>(1)),
                          "dream.attention.causal is true");
  expect_checkpoint_error(dream().text("diffusion.shift_logits", "yes"),
                          "diffusion.shift_logits is not");
  expect_checkpoint_error(dream().without("dream.block_count"), "dream.block_count is missing");
}

}  // namespace
}  // namespace dunlin

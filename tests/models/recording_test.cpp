// What the Llama block and its relatives record: weights, biases, KV groups, taps, and a hash that
// changes with every part of the configuration that changes results.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "checkpoint/families.h"
#include "checkpoint/gguf_names.h"
#include "models/registry.h"
#include "tiny_config.h"

namespace dunlin {
namespace {

Program record_tiny(const Metadata& config, const RecordOptions& options = {}) {
  auto program = record_model(config, options);
  EXPECT_TRUE(program.ok()) << program.error().message;
  EXPECT_TRUE(verify(*program).ok());
  return std::move(program).value();
}

std::vector<std::string> weight_names(const Program& program) {
  std::vector<std::string> names;
  for (const WeightDeclaration& weight : program.weights) names.push_back(weight.name);
  std::ranges::sort(names);
  return names;
}

int64_t count_ending(const Program& program, const std::string& end) {
  return std::ranges::count_if(program.weights, [&end](const WeightDeclaration& weight) {
    return weight.name.ends_with(end);
  });
}

class Recording : public testing::TestWithParam<std::string> {
 protected:
  Metadata config() const { return tiny_config(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(All, Recording, testing::ValuesIn(dense_families()),
                         [](const auto& info) { return info.param; });

TEST_P(Recording, TheHashKnowsEveryFieldThatMatters) {
  std::set<std::string> hashes = {to_string(content_hash(record_tiny(config())))};
  const std::vector<std::pair<std::string, Metadata::Value>> changes = {
      {"hidden_size", int64_t{128}},
      {"num_hidden_layers", int64_t{2}},
      {"num_attention_heads", int64_t{8}},
      {"num_key_value_heads", int64_t{1}},
      {"head_dim", int64_t{32}},
      {"intermediate_size", int64_t{128}},
      {"vocab_size", int64_t{160}},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 500000.0},
      {"tie_word_embeddings", true},
      {"rope_freq_divisors", std::vector<double>(8, 2.0)}};
  for (const auto& [key, value] : changes) {
    const Program program = record_tiny(with(config(), key, value));
    EXPECT_TRUE(hashes.insert(to_string(content_hash(program))).second) << key;
  }
}

TEST_P(Recording, TheHashIgnoresWhatDoesNot) {
  const ContentHash hash = content_hash(record_tiny(config()));
  EXPECT_EQ(content_hash(record_tiny(config())), hash);
  for (const char* key : {"max_position_embeddings", "bos_token_id", "initializer_range"})
    EXPECT_EQ(content_hash(record_tiny(with(config(), key, int64_t{7}))), hash) << key;
  // The values that a missing key stands for.
  EXPECT_EQ(content_hash(record_tiny(with(config(), "head_dim", int64_t{16}))), hash);
  EXPECT_EQ(content_hash(record_tiny(with(config(), "tie_word_embeddings", false))), hash);
  EXPECT_EQ(content_hash(record_tiny(with(config(), "hidden_act", std::string("silu")))), hash);
}

TEST_P(Recording, TiedEmbeddingsExistOnce) {
  const Program untied = record_tiny(config());
  const Program tied = record_tiny(with(config(), "tie_word_embeddings", true));
  EXPECT_EQ(count_ending(untied, "lm_head.weight"), 1);
  EXPECT_EQ(count_ending(tied, "lm_head.weight"), 0);
  EXPECT_EQ(count_ending(tied, "embed_tokens.weight"), 1);
  EXPECT_EQ(tied.weights.size() + 1, untied.weights.size());
}

TEST_P(Recording, AllLayersShareOneKvGroup) {
  const Program program = record_tiny(with(config(), "head_dim", int64_t{32}));
  ASSERT_EQ(program.kv_groups.size(), 1u);
  EXPECT_EQ(program.kv_groups[0].layers, 3);
  EXPECT_EQ(program.kv_groups[0].kv_heads, 2);
  EXPECT_EQ(program.kv_groups[0].head_dim, 32);
  EXPECT_EQ(program.kv_groups[0].window, 0);
}

TEST_P(Recording, MissingKeyValueHeadsAreAsManyAsHeads) {
  Metadata without("some/config.json");
  const Metadata whole = config();
  for (const auto& [key, value] : whole.values()) {
    if (key != "num_key_value_heads") without.set(key, value);
  }
  EXPECT_EQ(record_tiny(without).kv_groups[0].kv_heads, 4);
}

TEST_P(Recording, ShapesFollowTheConfiguration) {
  const Program program = record_tiny(with(config(), "head_dim", int64_t{24}));
  const auto shape = [&program](const std::string& name) {
    const auto it = std::ranges::find(program.weights, name, &WeightDeclaration::name);
    EXPECT_NE(it, program.weights.end()) << name;
    return it == program.weights.end() ? Dims() : it->shape();
  };
  const std::string layer = "model.layers.2.";
  EXPECT_EQ(shape("model.embed_tokens.weight"), (Dims{128, 64}));
  EXPECT_EQ(shape(layer + "self_attn.q_proj.weight"), (Dims{96, 64}));
  EXPECT_EQ(shape(layer + "self_attn.k_proj.weight"), (Dims{48, 64}));
  EXPECT_EQ(shape(layer + "self_attn.v_proj.weight"), (Dims{48, 64}));
  EXPECT_EQ(shape(layer + "self_attn.o_proj.weight"), (Dims{64, 96}));
  EXPECT_EQ(shape(layer + "mlp.gate_proj.weight"), (Dims{96, 64}));
  EXPECT_EQ(shape(layer + "mlp.down_proj.weight"), (Dims{64, 96}));
  EXPECT_EQ(shape(layer + "input_layernorm.weight"), (Dims{64}));
  EXPECT_EQ(shape("model.norm.weight"), (Dims{64}));
}

// What checkpoint/gguf_names.h lists for the family is what its Program declares. Biases follow from
// the configuration.
TEST_P(Recording, FilesHaveTheWeightsThatItDeclares) {
  const Metadata whole = with(config(), "head_dim", int64_t{16});
  const StoredFamily& family = *stored_family(whole).value();
  std::set<std::string> declared;
  const Program program = record_tiny(whole);
  for (const WeightDeclaration& weight : program.weights) {
    ASSERT_TRUE(is_canonical_tensor_name(family, weight.name)) << weight.name;
    EXPECT_TRUE(gguf_tensor_name(family, weight.name).has_value()) << weight.name;
    const auto shape = canonical_shape(family, weight.name, whole);
    ASSERT_TRUE(shape.ok()) << shape.error().message;
    EXPECT_EQ(weight.shape(), Dims(shape->begin(), shape->end())) << weight.name;
    if (!weight.name.ends_with(".bias")) declared.insert(weight.name);
  }
  const std::vector<std::string> listed = dunlin::weight_names(family, /*layers=*/3, false);
  EXPECT_EQ(declared, std::set<std::string>(listed.begin(), listed.end()));
}

TEST_P(Recording, TheLayersOptionTruncates) {
  for (const int64_t layers : {0, 1, 2, 3, 50}) {
    const Program program = record_tiny(config(), {.layers = layers});
    EXPECT_EQ(count_ending(program, "q_proj.weight"), std::min<int64_t>(layers, 3));
    EXPECT_EQ(program.kv_groups.empty() ? 0 : program.kv_groups[0].layers,
              std::min<int64_t>(layers, 3));
  }
  const Program two = record_tiny(config(), {.layers = 2});
  EXPECT_EQ(content_hash(two),
            content_hash(record_tiny(with(config(), "num_hidden_layers", int64_t{2}))));
}

TEST_P(Recording, TapsAreOutputsWhenAskedFor) {
  EXPECT_EQ(record_tiny(config()).outputs.size(), 1u);
  std::set<std::string> wanted = {"logits", "final_norm", "hidden.3"};
  for (const char* name :
       {"hidden", "norm1", "norm2", "q", "k", "v", "attn_out", "gate", "up", "mlp_out"}) {
    for (int layer = 0; layer < 3; ++layer)
      wanted.insert(std::string(name).append(".").append(std::to_string(layer)));
  }
  const Program program = record_tiny(config(), {.taps = {"*"}});
  std::set<std::string> names;
  for (const Output& output : program.outputs) names.insert(output.name);
  if (GetParam() == "llama") {
    EXPECT_EQ(names, wanted);
  }
  // A family may have more.
  for (const std::string& name : wanted) EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(record_tiny(config(), {.taps = {"q.1", "hidden.?"}}).outputs.size(), 1u + 1 + 4);
  const auto unknown = record_model(config(), {.taps = {"hiden.0"}});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("hiden.0"), std::string::npos) << unknown.error().message;
}

TEST_P(Recording, UnaskedTapsCostNothing) {
  const Program plain = record_tiny(config());
  for (const Node& node : plain.nodes) EXPECT_NE(node.op, Op::tap) << node.name;
}

TEST(Biases, AreWhereTheFamilyHasThem) {
  const auto biases = [](const Program& program) {
    std::set<std::string> found;
    for (const std::string& name : weight_names(program)) {
      if (name.starts_with("model.layers.0.") && name.ends_with(".bias"))
        found.insert(name.substr(15, name.size() - 15 - 5));
    }
    return found;
  };
  using Names = std::set<std::string>;
  const Names qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  const Names qkvo = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                      "self_attn.o_proj"};
  const Names mlp = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
  const Metadata llama = tiny_config("llama");
  EXPECT_EQ(biases(record_tiny(llama)), Names());
  EXPECT_EQ(biases(record_tiny(with(llama, "attention_bias", true))), qkvo);
  EXPECT_EQ(biases(record_tiny(with(llama, "mlp_bias", true))), mlp);
  EXPECT_EQ(biases(record_tiny(tiny_config("qwen2"))), qkv);
  EXPECT_EQ(biases(record_tiny(tiny_config("Dream"))), qkv);
}

// Qwen2's network, but every position sees every other.
TEST(Dream, HasAFullMask) {
  for (const char* family : {"qwen2", "Dream"}) {
    int layers = 0;
    for (const Node& node : record_tiny(tiny_config(family)).nodes) {
      if (node.op != Op::attention) continue;
      const auto& attributes = std::get<AttentionAttributes>(node.attributes);
      const bool full = std::string(family) == "Dream";
      EXPECT_EQ(attributes.mask, full ? MaskKind::full : MaskKind::causal) << node.name;
      EXPECT_TRUE(attributes.stateful);
      ++layers;
    }
    EXPECT_EQ(layers, 3);
  }
}

// The list of forward passes and that of files (checkpoint/families.h) have the same.
TEST(Families, AreThoseThatFilesMayHold) {
  std::set<std::string> types;
  for (const ModelFamily& family : model_families()) {
    EXPECT_TRUE(types.insert(family.model_type).second) << family.model_type;
    EXPECT_STRNE(family.covers, "") << family.model_type;
    const auto stored = stored_family("a test", family.model_type);
    ASSERT_TRUE(stored.ok()) << stored.error().message;
    EXPECT_EQ((*stored)->masked_diffusion, family.diffusion != nullptr) << family.model_type;
  }
  EXPECT_TRUE(types.contains("llama"));
}

}  // namespace
}  // namespace dunlin

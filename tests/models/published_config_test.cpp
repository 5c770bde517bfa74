// config.json as it was published for DeepSeek-R1's distilled models, at full size: the shapes of
// every weight follow from it, and add up to the number of parameters that the authors name.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_config.h"
#include "models/registry.h"

namespace dunlin {
namespace {

using nlohmann::json;

struct Published {
  std::string name;
  json config;
  json generation;
  int64_t parameters;
  int64_t vocabulary;
  double theta;
};

json qwen_config(int64_t hidden, int64_t intermediate, int64_t heads, int64_t kv_heads,
                 int64_t vocabulary) {
  return {{"architectures", json::array({"Qwen2ForCausalLM"})},
          {"attention_dropout", 0.0},
          {"bos_token_id", 151643},
          {"eos_token_id", 151643},
          {"hidden_act", "silu"},
          {"hidden_size", hidden},
          {"initializer_range", 0.02},
          {"intermediate_size", intermediate},
          {"max_position_embeddings", 131072},
          {"max_window_layers", 21},
          {"model_type", "qwen2"},
          {"num_attention_heads", heads},
          {"num_hidden_layers", 28},
          {"num_key_value_heads", kv_heads},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000},
          {"sliding_window", 4096},
          {"tie_word_embeddings", false},
          {"torch_dtype", "bfloat16"},
          {"transformers_version", "4.44.0"},
          {"use_cache", true},
          {"use_mrope", false},
          {"use_sliding_window", false},
          {"vocab_size", vocabulary}};
}

json llama_config() {
  return {{"architectures", json::array({"LlamaForCausalLM"})},
          {"attention_bias", false},
          {"attention_dropout", 0.0},
          {"bos_token_id", 128000},
          {"eos_token_id", 128001},
          {"hidden_act", "silu"},
          {"hidden_size", 4096},
          {"initializer_range", 0.02},
          {"intermediate_size", 14336},
          {"max_position_embeddings", 131072},
          {"mlp_bias", false},
          {"model_type", "llama"},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 8},
          {"pretraining_tp", 1},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling",
           {{"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 8192},
            {"rope_type", "llama3"}}},
          {"rope_theta", 500000.0},
          {"tie_word_embeddings", false},
          {"torch_dtype", "bfloat16"},
          {"transformers_version", "4.43.0.dev0"},
          {"use_cache", true},
          {"vocab_size", 128256}};
}

json generation_config(int64_t bos, int64_t eos) {
  return {{"_from_model_config", true},
          {"bos_token_id", bos},
          {"eos_token_id", eos},
          {"do_sample", true},
          {"temperature", 0.6},
          {"top_p", 0.95},
          {"transformers_version", "4.39.3"}};
}

std::vector<Published> published() {
  return {
      {"Qwen_1_5B", qwen_config(1536, 8960, 12, 2, 151936), generation_config(151646, 151643),
       1777088000, 151936, 1e4},
      {"Qwen_7B", qwen_config(3584, 18944, 28, 4, 152064), generation_config(151646, 151643),
       7615616512, 152064, 1e4},
      {"Llama_8B", llama_config(), generation_config(128000, 128001), 8030261248, 128256, 5e5},
  };
}

class Distilled : public testing::TestWithParam<Published> {
 protected:
  Metadata config() const {
    return read_hf_config({"config.json", GetParam().config.dump()},
                          ConfigText{"generation_config.json", GetParam().generation.dump()})
        .value();
  }
};

INSTANTIATE_TEST_SUITE_P(DeepSeekR1, Distilled, testing::ValuesIn(published()),
                         [](const auto& info) { return info.param.name; });

TEST_P(Distilled, WeightsAddUpToTheParameters) {
  const auto program = record_model(config(), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  EXPECT_TRUE(verify(*program).ok());
  int64_t parameters = 0;
  int64_t rows_of_vocabulary = 0;
  for (const WeightDeclaration& weight : program->weights) {
    const Dims shape = weight.shape();
    int64_t size = 1;
    for (const Dim& extent : shape) size *= extent.size;
    parameters += size;
    rows_of_vocabulary += shape.front() == Dim(GetParam().vocabulary) ? 1 : 0;
  }
  EXPECT_EQ(parameters, GetParam().parameters);
  EXPECT_EQ(rows_of_vocabulary, 2);  // the embedding, and a head of its own
}

TEST_P(Distilled, PositionsAndSpecialTokensAreTheirOwn) {
  const Metadata metadata = config();
  EXPECT_EQ(*metadata.number("rope_theta", 1, 1e9), GetParam().theta);
  EXPECT_FALSE(*metadata.boolean("tie_word_embeddings"));
  EXPECT_EQ(*metadata.integer("max_position_embeddings", 1, 1 << 20), 131072);
  EXPECT_EQ(std::get<std::vector<int64_t>>(*metadata.find("eos_token_id")),
            std::vector<int64_t>{GetParam().config["eos_token_id"].get<int64_t>()});
  EXPECT_EQ(*metadata.number("generation.temperature", 0, 1), 0.6);
  EXPECT_EQ(*metadata.number("generation.top_p", 0, 1), 0.95);
  const bool llama = GetParam().config["model_type"] == "llama";
  EXPECT_EQ(*metadata.text("rope_scaling.rope_type"), llama ? "llama3" : "default");
}

}  // namespace
}  // namespace dunlin

// The formats that quantising gives each tensor. The counts of Q4_K_M, Q3_K_M and Q3_K_L for 32 layers
// are those that llama.cpp prints when it loads published files; the others follow from its rules.
#include "convert/choose_formats.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace dunlin {
namespace {

using testing::HasSubstr;
using Counts = std::map<Format, int>;

struct ModelShape {
  std::string type = "llama";
  int64_t layers = 32, hidden = 4096, intermediate = 14336, heads = 32, kv_heads = 8;
  bool tied = false;
};

const ModelShape kLlama3_8B;
const ModelShape kLlama2_7B = {.intermediate = 11008, .kv_heads = 32};
const ModelShape kLlama3_70B = {
    .layers = 80, .hidden = 8192, .intermediate = 28672, .heads = 64, .kv_heads = 8};
const ModelShape kQwen2_72B = {.type = "qwen2",
                               .layers = 80,
                               .hidden = 8192,
                               .intermediate = 29568,
                               .heads = 64,
                               .kv_heads = 8};
const ModelShape kSmolLm2 = {
    .layers = 30, .hidden = 576, .intermediate = 1536, .heads = 9, .kv_heads = 3, .tied = true};

Metadata config_of(const ModelShape& shape) {
  Metadata config("config");
  config.set("model_type", shape.type);
  config.set("num_hidden_layers", shape.layers);
  config.set("num_attention_heads", shape.heads);
  config.set("num_key_value_heads", shape.kv_heads);
  return config;
}

std::vector<TensorPlan> tensors_of(const ModelShape& shape, Format format = Format::f16) {
  std::vector<TensorPlan> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> extents) {
    TensorPlan tensor{.name = name, .shape = extents, .view = {}, .format = format};
    if (extents.size() == 1) tensor.format = Format::f32;
    tensor.view.format = tensor.format;
    tensor.view.rows = extents.size() == 1 ? 1 : extents[0];
    tensor.view.columns = extents.back();
    tensor.view.source = memory_source({}, "in.gguf");
    tensors.push_back(std::move(tensor));
  };
  const int64_t kv = shape.hidden / shape.heads * shape.kv_heads;
  add("token_embd.weight", {128256, shape.hidden});
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = fmt::format("blk.{}.", layer);
    for (const char* name : {"attn_norm", "ffn_norm"})
      add(prefix + name + ".weight", {shape.hidden});
    for (const char* name : {"attn_q", "attn_output"})
      add(prefix + name + ".weight", {shape.hidden, shape.hidden});
    for (const char* name : {"attn_k", "attn_v"})
      add(prefix + name + ".weight", {kv, shape.hidden});
    for (const char* name : {"ffn_gate", "ffn_up"})
      add(prefix + name + ".weight", {shape.intermediate, shape.hidden});
    add(prefix + "ffn_down.weight", {shape.hidden, shape.intermediate});
  }
  add("output_norm.weight", {shape.hidden});
  if (!shape.tied) add("output.weight", {128256, shape.hidden});
  return tensors;
}

struct Chosen {
  std::vector<TensorPlan> tensors;
  std::vector<Fallback> fallbacks;

  Counts counts() const {
    Counts counts;
    for (const TensorPlan& tensor : tensors) ++counts[tensor.format];
    return counts;
  }
  const char* of(const std::string& name) const {
    return traits(std::ranges::find(tensors, name, &TensorPlan::name)->format).name;
  }
};

Result<Chosen> choose(const ModelShape& shape, const std::string& type, FormatOptions options = {},
                      Format stored = Format::f16) {
  options.type = find_quantize_type(type);
  Chosen chosen{.tensors = tensors_of(shape, stored), .fallbacks = {}};
  DUNLIN_ASSIGN_OR_RETURN(chosen.fallbacks,
                          choose_formats(config_of(shape), options, chosen.tensors));
  return chosen;
}

TEST(ChooseFormats, MixesHaveTheCountsOfLlamaCpp) {
  using enum Format;
  const struct {
    const ModelShape& shape;
    const char* type;
    Counts counts;
  } cases[] = {
      {kLlama3_8B, "Q4_K_M", {{f32, 65}, {q4_k, 193}, {q6_k, 33}}},
      {kLlama3_8B, "Q5_K_M", {{f32, 65}, {q5_k, 193}, {q6_k, 33}}},
      {kLlama3_8B, "Q4_K_S", {{f32, 65}, {q4_k, 217}, {q5_k, 8}, {q6_k, 1}}},
      {kLlama3_8B, "Q5_K_S", {{f32, 65}, {q5_k, 225}, {q6_k, 1}}},
      {kLlama2_7B, "Q3_K_S", {{f32, 65}, {q3_k, 225}, {q6_k, 1}}},
      {kLlama2_7B, "Q3_K_M", {{f32, 65}, {q3_k, 129}, {q4_k, 92}, {q5_k, 4}, {q6_k, 1}}},
      {kLlama2_7B, "Q3_K_L", {{f32, 65}, {q3_k, 129}, {q5_k, 96}, {q6_k, 1}}},
      {kLlama3_8B, "Q2_K", {{f32, 65}, {q2_k, 129}, {q3_k, 64}, {q4_k, 32}, {q6_k, 1}}},
      {kLlama2_7B, "Q2_K", {{f32, 65}, {q2_k, 129}, {q3_k, 96}, {q6_k, 1}}},
      {kLlama3_8B, "Q6_K", {{f32, 65}, {q6_k, 226}}},
      {kLlama3_8B, "Q8_0", {{f32, 65}, {q8_0, 226}}},
      {kLlama3_8B, "Q4_0", {{f32, 65}, {q4_0, 225}, {q6_k, 1}}},
      {kLlama3_8B, "Q5_1", {{f32, 65}, {q5_1, 225}, {q6_k, 1}}},
      {kLlama3_8B, "MXFP4", {{f32, 65}, {mxfp4, 225}, {q8_0, 1}}},
      {kLlama3_8B, "F16", {{f32, 65}, {f16, 226}}},
      {kLlama3_8B, "BF16", {{f32, 65}, {bf16, 226}}},
      {kLlama3_8B, "F32", {{f32, 291}}},
      {kLlama3_8B, "COPY", {{f32, 65}, {f16, 226}}},
      // attn_v of these models has eight query heads to a value.
      {kLlama3_70B, "Q4_K_M", {{f32, 161}, {q4_k, 441}, {q5_k, 40}, {q6_k, 81}}},
  };
  for (const auto& [shape, type, counts] : cases) {
    const auto chosen = choose(shape, type);
    ASSERT_TRUE(chosen.ok()) << chosen.error().message;
    EXPECT_EQ(chosen->counts(), counts) << type << ", " << shape.layers << " layers";
    EXPECT_TRUE(chosen->fallbacks.empty());
  }
}

TEST(ChooseFormats, TheMixNamesTheLayers) {
  const auto chosen = choose(kLlama3_8B, "q4_k");
  ASSERT_TRUE(chosen.ok());
  const std::vector<int> expected = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};
  for (int layer = 0; layer < 32; ++layer) {
    const bool more = std::ranges::find(expected, layer) != expected.end();
    for (const char* name : {"attn_v", "ffn_down"}) {
      EXPECT_STREQ(chosen->of(fmt::format("blk.{}.{}.weight", layer, name)),
                   more ? "Q6_K" : "Q4_K");
    }
  }
  EXPECT_STREQ(chosen->of("output.weight"), "Q6_K");
  EXPECT_STREQ(chosen->of("token_embd.weight"), "Q4_K");
  EXPECT_STREQ(choose(kQwen2_72B, "Q4_K_M")->of("blk.10.attn_v.weight"), "Q5_K");
}

TEST(ChooseFormats, ATiedEmbeddingIsTheOutput) {
  ModelShape tied = kLlama3_8B;
  tied.tied = true;
  EXPECT_STREQ(choose(tied, "Q4_K_M")->of("token_embd.weight"), "Q6_K");
  EXPECT_STREQ(choose(tied, "Q8_0")->of("token_embd.weight"), "Q8_0");
  EXPECT_STREQ(choose(tied, "Q4_K_M", {.pure = true})->of("token_embd.weight"), "Q4_K");
  EXPECT_STREQ(choose(tied, "Q4_K_M", {.output = Format::bf16})->of("token_embd.weight"), "BF16");
  EXPECT_STREQ(choose(tied, "Q4_K_M", {.output = Format::bf16, .token_embedding = Format::q8_0})
                   ->of("token_embd.weight"),
               "Q8_0");
}

TEST(ChooseFormats, RowsThatAreNotWholeBlocksFallBack) {
  const std::tuple<const char*, Format> cases[] = {{"Q2_K", Format::q4_0},
                                                   {"Q3_K_S", Format::q4_0},
                                                   {"Q4_K_S", Format::q5_0},
                                                   {"Q5_K_S", Format::q5_1},
                                                   {"Q6_K", Format::q8_0}};
  for (const auto& [type, used] : cases) {
    const auto chosen = choose(kSmolLm2, type);
    ASSERT_TRUE(chosen.ok()) << chosen.error().message;
    EXPECT_STREQ(chosen->of("blk.20.attn_q.weight"), traits(used).name) << type;
    EXPECT_STREQ(chosen->of("token_embd.weight"), "Q8_0") << type;
    // 1536 columns are whole blocks.
    EXPECT_EQ(traits(find_quantize_type(type)->format.value()).block_elements, 256);
    EXPECT_THAT(chosen->of("blk.20.ffn_down.weight"), HasSubstr("_K")) << type;
    const auto fallback =
        std::ranges::find(chosen->fallbacks, "blk.20.attn_q.weight", &Fallback::tensor);
    ASSERT_NE(fallback, chosen->fallbacks.end()) << type;
    EXPECT_EQ(fallback->columns, 576);
    EXPECT_EQ(fallback->wanted, *find_quantize_type(type)->format);
    EXPECT_EQ(fallback->used, used);
  }
  // Rows that even blocks of 32 do not divide.
  ModelShape odd = kSmolLm2;
  odd.hidden = 9 * 52;
  for (const char* type : {"Q4_K_M", "Q4_0", "MXFP4", "Q8_0"}) {
    const auto chosen = choose(odd, type);
    EXPECT_STREQ(chosen->of("blk.3.attn_q.weight"), "F16") << type;
    EXPECT_EQ(chosen->fallbacks.size(), 30u * 6 + 1) << type;
  }
}

TEST(ChooseFormats, RulesAndFlagsComeBeforeTheMix) {
  const auto rule = [](const char* pattern, Format format) {
    return TensorRule{.pattern = pattern, .format = format};
  };
  const auto chosen =
      choose(kLlama3_8B, "Q4_K_M",
             {.rules = {rule("blk\\.(0|31)\\.ffn", Format::q8_0), rule("FFN_up", Format::q5_k)}});
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  EXPECT_STREQ(chosen->of("blk.31.ffn_up.weight"), "Q8_0");
  EXPECT_STREQ(chosen->of("blk.30.ffn_up.weight"), "Q5_K");
  EXPECT_STREQ(chosen->of("blk.0.ffn_norm.weight"), "F32");
  EXPECT_STREQ(chosen->of("blk.30.ffn_down.weight"), "Q6_K");

  const auto flags =
      choose(kLlama3_8B, "F16", {.output = Format::q8_0, .token_embedding = Format::q6_k});
  EXPECT_STREQ(flags->of("output.weight"), "Q8_0");
  EXPECT_STREQ(flags->of("token_embd.weight"), "Q6_K");
  EXPECT_STREQ(flags->of("blk.0.attn_q.weight"), "F16");

  const auto kept = choose(kLlama3_8B, "Q4_K_M", {.keep_output = true});
  EXPECT_STREQ(kept->of("output.weight"), "F16");
  EXPECT_EQ(choose(kLlama3_8B, "Q4_K_M", {.pure = true})->counts(),
            (Counts{{Format::f32, 65}, {Format::q4_k, 226}}));
  EXPECT_STREQ(choose(kLlama3_8B, "COPY", {.rules = {rule("attn_k", Format::q8_0)}})
                   ->of("blk.7.attn_k.weight"),
               "Q8_0");
}

TEST(ChooseFormats, AnImportanceMatrixChangesTheFirstEighth) {
  const auto chosen = choose(kLlama3_8B, "Q4_0", {.imatrix = true});
  EXPECT_STREQ(chosen->of("blk.3.ffn_down.weight"), "Q4_1");
  EXPECT_STREQ(chosen->of("blk.4.ffn_down.weight"), "Q4_0");
  EXPECT_STREQ(chosen->of("blk.3.ffn_up.weight"), "Q4_0");
  EXPECT_STREQ(choose(kLlama3_8B, "Q5_0", {.imatrix = true})->of("blk.0.ffn_down.weight"), "Q5_1");
  EXPECT_STREQ(choose(kLlama3_8B, "Q4_1", {.imatrix = true})->of("blk.0.ffn_down.weight"), "Q4_1");
}

TEST(ChooseFormats, RulesThatDoNothingAreErrors) {
  for (const char* pattern : {"attn_w", "norm", "(", "ffn_up"}) {
    const auto chosen = choose(kLlama3_8B, "Q4_K_M",
                               {.rules = {{.pattern = "ffn", .format = Format::q8_0},
                                          {.pattern = pattern, .format = Format::q8_0}}});
    ASSERT_FALSE(chosen.ok()) << pattern;
    EXPECT_EQ(chosen.error().kind, ErrorKind::usage);
    EXPECT_THAT(chosen.error().message, HasSubstr(fmt::format("--tensor-type: \"{}\"", pattern)));
  }
}

TEST(ChooseFormats, EncodingBlocksAgainIsRefused) {
  EXPECT_TRUE(refuse_requantizing(choose(kLlama3_8B, "Q4_K_M")->tensors).ok());
  EXPECT_TRUE(refuse_requantizing(choose(kLlama3_8B, "COPY", {}, Format::q4_k)->tensors).ok());
  EXPECT_TRUE(
      refuse_requantizing(choose(kLlama3_8B, "Q4_K_M", {.pure = true}, Format::q4_k)->tensors)
          .ok());
  for (const char* type : {"Q8_0", "F16", "Q4_K_M"}) {
    const auto refused = refuse_requantizing(choose(kLlama3_8B, type, {}, Format::q4_k)->tensors);
    ASSERT_FALSE(refused.ok()) << type;
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
    EXPECT_THAT(refused.error().message, HasSubstr("in.gguf: the tensor "));
    EXPECT_THAT(refused.error().message, HasSubstr("is in Q4_K already"));
    EXPECT_THAT(refused.error().message, HasSubstr("--allow-requantize"));
  }
}

TEST(QuantizeType, NamesAreFoundInAnyCase) {
  EXPECT_STREQ(find_quantize_type("q4_k")->name, "Q4_K_M");
  EXPECT_STREQ(find_quantize_type("Q5_k")->name, "Q5_K_M");
  EXPECT_STREQ(find_quantize_type("q3_K")->name, "Q3_K_M");
  EXPECT_STREQ(find_quantize_type("copy")->name, "COPY");
  for (const char* name : {"", "Q4", "Q4_K_", "Q4_K_MM", "IQ4_XS"})
    EXPECT_EQ(find_quantize_type(name), nullptr) << name;
  for (const QuantizeType& type : quantize_types()) EXPECT_EQ(find_quantize_type(type.name), &type);
}

}  // namespace
}  // namespace dunlin

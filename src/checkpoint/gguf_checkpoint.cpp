// A GGUF file as a Checkpoint: its header's keys become the canonical configuration.
#include "checkpoint/gguf_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text_checks.h"
#include "checkpoint/canonical_config.h"
#include "checkpoint/families.h"
#include "checkpoint/mxfp4_pairs.h"
#include "checkpoint/stored_checkpoint.h"
#include "checkpoint/tensor_checks.h"

namespace dunlin {
namespace {

constexpr size_t kMostEndIds = 1000;

const TensorInfo* find_tensor(const std::vector<TensorInfo>& tensors, std::string_view name) {
  const auto it = std::ranges::find(tensors, name, &TensorInfo::name);
  return it == tensors.end() ? nullptr : &*it;
}

Result<void> refuse_unsupported(const Metadata& header, const StoredFamily& family) {
  if (family.mixture) return {};
  const std::string key = fmt::format("{}.expert_count", family.gguf_architecture);
  DUNLIN_ASSIGN_OR_RETURN(const int64_t experts, header.integer_or(key, 0, 1 << 20, 0));
  if (experts > 0) {
    return model_error(
        fmt::format("{}: {} is {}; mixtures of experts of this architecture are not supported",
                    header.origin(), key, experts));
  }
  return {};
}

// rope.scaling.*: none or YaRN. llama3's scaling is a tensor.
Result<void> read_rope_scaling(Metadata& config, const Metadata& header,
                               const StoredFamily& family) {
  const std::string prefix = fmt::format("{}.rope.scaling.", family.gguf_architecture);
  // The name that the factor had in files of 2023.
  const std::string old_key = fmt::format("{}.rope.scale_linear", family.gguf_architecture);
  const std::string new_key = prefix + "factor";
  const std::string& factor_key = !header.has(new_key) && header.has(old_key) ? old_key : new_key;
  // A factor without a type is a linear one (llama.cpp, llama-model.cpp), unless the family knows
  // YaRN only: converters of ollama's files leave it out.
  DUNLIN_ASSIGN_OR_RETURN(const double scale, header.number_or(factor_key, 0, 1e6, 1));
  const bool scaled = scale != 0.0 && scale != 1.0;
  const char* const unnamed = !scaled ? "none" : family.yarn_by_default ? "yarn" : "linear";
  DUNLIN_ASSIGN_OR_RETURN(const std::string type, header.text_or(prefix + "type", unnamed));
  config.set("rope_scaling.rope_type", std::string(type == "yarn" ? "yarn" : "default"));
  if (type == "none") return {};
  if (type != "yarn") {
    return model_error(fmt::format(
        "{}: {}type {} is not supported; supported: none, yarn, or a rope_freqs.weight tensor",
        header.origin(), prefix, quoted_text(type)));
  }
  DUNLIN_ASSIGN_OR_RETURN(const double factor, header.number(factor_key, 1, 1e6));
  config.set("rope_scaling.factor", factor);
  DUNLIN_ASSIGN_OR_RETURN(const int64_t positions,
                          config.integer("max_position_embeddings", 1, 1 << 30));
  DUNLIN_ASSIGN_OR_RETURN(
      const int64_t original,
      header.integer_or(prefix + "original_context_length", 1, 1 << 30, positions));
  config.set("rope_scaling.original_max_position_embeddings", original);
  DUNLIN_ASSIGN_OR_RETURN(const double fast,
                          header.number_or(prefix + "yarn_beta_fast", 1e-6, 1e6, 32.0));
  config.set("rope_scaling.beta_fast", fast);
  DUNLIN_ASSIGN_OR_RETURN(const double slow,
                          header.number_or(prefix + "yarn_beta_slow", 1e-6, 1e6, 1.0));
  config.set("rope_scaling.beta_slow", slow);
  DUNLIN_ASSIGN_OR_RETURN(const double attention,
                          header.number_or(prefix + "attn_factor", 1e-3, 1e3, 1.0));
  if (attention != 1.0)
    config.set("rope_scaling.attention_factor", attention * (0.1 * std::log(factor) + 1.0));
  // A key of our own, for models that differ from the rest of their family.
  DUNLIN_ASSIGN_OR_RETURN(const bool truncate,
                          header.boolean_or(prefix + "yarn_truncate", family.yarn_truncates));
  config.set("rope_scaling.truncate", truncate);
  return {};
}

// The width of an expert has a key of its own.
Result<void> read_expert_width(Metadata& config, const Metadata& header,
                               const StoredFamily& family) {
  const std::string key = fmt::format("{}.expert_feed_forward_length", family.gguf_architecture);
  if (!family.mixture || !header.has(key)) return {};
  DUNLIN_ASSIGN_OR_RETURN(const int64_t width, header.integer(key, 1, 1 << 22));
  config.set("intermediate_size", width);
  return {};
}

// The whole head is rotated, and values are as wide as keys.
Result<void> check_head_widths(const Metadata& header, const Metadata& config,
                               const StoredFamily& family) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 2, 4096));
  for (const char* suffix : {".rope.dimension_count", ".attention.value_length"}) {
    const std::string key = fmt::format("{}{}", family.gguf_architecture, suffix);
    DUNLIN_ASSIGN_OR_RETURN(const int64_t width, header.integer_or(key, 0, 1 << 20, head_dim));
    if (width != head_dim) {
      return model_error(fmt::format("{}: {} is {}, but the heads have {}", header.origin(), key,
                                     width, head_dim));
    }
  }
  return {};
}

// Token types and scores, where present, go with the tokens one to one.
Result<void> check_tokenizer(const Metadata& header) {
  const Metadata::Value* tokens = header.find("tokenizer.ggml.tokens");
  const auto* texts = tokens != nullptr ? std::get_if<std::vector<std::string>>(tokens) : nullptr;
  const auto wrong = [&](const char* key, const std::string& wanted) {
    return model_error(fmt::format("{}: {} is not {}", header.origin(), key, wanted));
  };
  if (tokens != nullptr && texts == nullptr)
    return wrong("tokenizer.ggml.tokens", "a list of strings");
  const size_t count = texts != nullptr ? texts->size() : 0;
  if (const auto* types = header.find("tokenizer.ggml.token_type")) {
    const auto* list = std::get_if<std::vector<int64_t>>(types);
    if (list == nullptr || list->size() != count) {
      return wrong("tokenizer.ggml.token_type",
                   fmt::format("a list of {} integers, one per token", count));
    }
  }
  if (const auto* scores = header.find("tokenizer.ggml.scores")) {
    const auto* list = std::get_if<std::vector<double>>(scores);
    if (list == nullptr || list->size() != count) {
      return wrong("tokenizer.ggml.scores",
                   fmt::format("a list of {} numbers, one per token", count));
    }
  }
  if (const auto* merges = header.find("tokenizer.ggml.merges")) {
    if (!std::holds_alternative<std::vector<std::string>>(*merges)) {
      return wrong("tokenizer.ggml.merges", "a list of strings");
    }
  }
  return {};
}

Result<void> read_special_tokens(Metadata& config, const Metadata& header) {
  for (const char* name : {"eos", "eot", "eom"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    if (!header.has(key)) continue;
    DUNLIN_ASSIGN_OR_RETURN(const int64_t id, header.integer(key, 0, UINT32_MAX));
    DUNLIN_RETURN_IF_ERROR(add_eos_token(config, id));
  }
  // ollama's converter lists all of them.
  if (const auto* ids = header.find("tokenizer.ggml.eos_token_ids")) {
    const auto* const list = std::get_if<std::vector<int64_t>>(ids);
    const auto negative = [](int64_t id) { return id < 0; };
    if (list == nullptr || list->size() > kMostEndIds || std::ranges::any_of(*list, negative)) {
      return model_error(
          fmt::format("{}: tokenizer.ggml.eos_token_ids is not a list of at most {} ids",
                      header.origin(), kMostEndIds));
    }
    for (const int64_t id : *list) DUNLIN_RETURN_IF_ERROR(add_eos_token(config, id));
  }
  if (header.has("tokenizer.ggml.bos_token_id")) {
    DUNLIN_ASSIGN_OR_RETURN(const int64_t id,
                            header.integer("tokenizer.ggml.bos_token_id", 0, UINT32_MAX));
    config.set("bos_token_id", id);
  }
  return {};
}

// llama.cpp's keys of diffusion models; without the mask there is nothing to fill in.
Result<void> read_masked_diffusion(Metadata& config, const Metadata& header,
                                   const std::string& architecture) {
  const std::string causal_key = architecture + ".attention.causal";
  DUNLIN_ASSIGN_OR_RETURN(const bool causal, header.boolean_or(causal_key, false));
  if (causal) {
    return model_error(fmt::format("{}: {} is true, but a diffusion model attends both sides",
                                   header.origin(), causal_key));
  }
  DUNLIN_ASSIGN_OR_RETURN(const int64_t mask,
                          header.integer("tokenizer.ggml.mask_token_id", 0, INT32_MAX));
  config.set("mask_token_id", mask);
  if (constexpr const char* kPadding = "tokenizer.ggml.padding_token_id"; header.has(kPadding)) {
    DUNLIN_ASSIGN_OR_RETURN(const int64_t pad, header.integer(kPadding, 0, INT32_MAX));
    config.set("pad_token_id", pad);
  }
  DUNLIN_ASSIGN_OR_RETURN(const bool shift, header.boolean_or("diffusion.shift_logits", true));
  config.set("diffusion.shift_logits", shift);
  return {};
}

// rope_freqs.weight: F32 [head_dim / 2], what each inverse frequency is divided by.
Result<void> read_rope_divisors(Metadata& config, const ByteSource& source,
                                const TensorInfo& tensor) {
  DUNLIN_ASSIGN_OR_RETURN(const int64_t head_dim, config.integer("head_dim", 2, 4096));
  const auto wrong = [&](std::string_view problem) {
    return tensor_error(source.name(), tensor.name, problem);
  };
  if (tensor.format != Format::f32 || tensor.shape != std::vector<int64_t>{head_dim / 2}) {
    return wrong(fmt::format("is not F32 [{}]", head_dim / 2));
  }
  std::vector<float> values(static_cast<size_t>(head_dim / 2));
  DUNLIN_RETURN_IF_ERROR(source.read_at(tensor.offset, std::as_writable_bytes(std::span(values))));
  for (const float value : values) {
    if (!(value > 0.0f && std::isfinite(value)))
      return wrong(fmt::format("holds {}, not a divisor", value));
  }
  config.set("rope_freq_divisors", std::vector<double>(values.begin(), values.end()));
  return {};
}

// The keys of the architecture, without the vocabulary's long lists. X.vocab_size is optional: the
// embedding's rows say the same.
Metadata model_keys(const GgufHeader& file, const StoredFamily& family) {
  const std::string prefix = fmt::format("{}.", family.gguf_architecture);
  Metadata keys(file.metadata.origin());
  for (const auto& [key, value] : file.metadata.values()) {
    if (key.starts_with(prefix)) keys.set(key, value);
  }
  const TensorInfo* embedding = find_tensor(file.tensors, "token_embd.weight");
  if (!keys.has(prefix + "vocab_size") && embedding != nullptr) {
    keys.set(prefix + "vocab_size", embedding->shape.front());
  }
  return keys;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_gguf(std::shared_ptr<const ByteSource> source,
                                              const OpenPart& open) {
  DUNLIN_ASSIGN_OR_RETURN(GgufModel model, read_gguf_model(source, open));
  GgufHeader& file = model.header;
  const Metadata& header = file.metadata;
  DUNLIN_ASSIGN_OR_RETURN(const std::string architecture, header.text("general.architecture"));
  DUNLIN_ASSIGN_OR_RETURN(const StoredFamily* const family,
                          gguf_family(header.origin(), architecture));
  DUNLIN_RETURN_IF_ERROR(refuse_unsupported(header, *family));
  DUNLIN_RETURN_IF_ERROR(check_tokenizer(header));

  DUNLIN_ASSIGN_OR_RETURN(
      Metadata config, canonical_config(model_keys(file, *family), ConfigSpelling::gguf, *family));
  DUNLIN_RETURN_IF_ERROR(read_expert_width(config, header, *family));
  DUNLIN_RETURN_IF_ERROR(check_head_widths(header, config, *family));
  config.set("tie_word_embeddings", find_tensor(file.tensors, "output.weight") == nullptr);
  const bool query_bias = find_tensor(file.tensors, "blk.0.attn_q.bias") != nullptr;
  config.set("attention_bias", family->mixture || (family->configured_biases && query_bias));
  config.set("mlp_bias", find_tensor(file.tensors, "blk.0.ffn_gate.bias") != nullptr);
  config.set("hidden_act", std::string("silu"));
  DUNLIN_RETURN_IF_ERROR(read_rope_scaling(config, header, *family));
  if (const TensorInfo* divisors = find_tensor(file.tensors, "rope_freqs.weight")) {
    const auto index = static_cast<size_t>(divisors - file.tensors.data());
    DUNLIN_RETURN_IF_ERROR(read_rope_divisors(config, *model.sources[index], *divisors));
  }
  DUNLIN_RETURN_IF_ERROR(read_special_tokens(config, header));
  if (family->masked_diffusion)
    DUNLIN_RETURN_IF_ERROR(read_masked_diffusion(config, header, architecture));
  DUNLIN_RETURN_IF_ERROR(add_generation(config, header, ConfigSpelling::gguf));
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const TensorInfo& tensor = file.tensors[i];
    if (tensor.neighbours)
      model.sources[i] = neighbours_source(model.sources[i], tensor.offset, tensor.bytes);
  }

  return make_checkpoint({source->name(), "gguf", std::move(config), std::move(file.metadata),
                          std::move(file.tensors), std::move(model.sources)});
}

}  // namespace dunlin

#include "checkpoint/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/text_checks.h"

namespace dunlin {
namespace {

constexpr DefaultValue kLlamaDefaults[] = {{"rms_norm_eps", 1e-6}, {"rope_theta", 10000.0}};

// transformers, configuration_gpt_oss.py.
constexpr DefaultValue kGptOssDefaults[] = {
    {"rms_norm_eps", 1e-5},     {"rope_theta", 150000.0},   {"head_dim", 64},
    {"num_key_value_heads", 8}, {"num_local_experts", 128}, {"num_experts_per_tok", 4},
    {"sliding_window", 128},
};

constexpr StoredFamily kGptOss{.model_type = "gpt_oss",
                               .gguf_architecture = "gpt-oss",
                               .architecture = "GptOssForCausalLM",
                               .defaults = kGptOssDefaults,
                               .mixture = true,
                               .sinks = true,
                               .windows = true,
                               .post_attention_norm = true,
                               .yarn_truncates = false,
                               .yarn_by_default = true};

constexpr StoredFamily of_ollama(StoredFamily family, std::string_view architecture) {
  family.gguf_architecture = architecture;
  family.ollama_names = true;
  return family;
}

// Of two with one model_type the first is that of Hugging Face directories.
constexpr StoredFamily kFamilies[] = {
    {.model_type = "llama",
     .gguf_architecture = "llama",
     .architecture = "LlamaForCausalLM",
     .defaults = kLlamaDefaults,
     .configured_biases = true,
     .permuted_rope = true},
    {.model_type = "qwen2",
     .gguf_architecture = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .defaults = kLlamaDefaults},
    kGptOss,
    of_ollama(kGptOss, kOllamaGptOss),
    {.model_type = "Dream",
     .gguf_architecture = "dream",
     .architecture = "DreamModel",
     .defaults = kLlamaDefaults,
     .masked_diffusion = true},
};

Result<const StoredFamily*> find_family(const std::string& origin, std::string_view name,
                                        std::string_view StoredFamily::* column) {
  const auto* const family = std::ranges::find(kFamilies, name, column);
  if (family != std::end(kFamilies)) return family;
  std::string known;
  std::string_view last;
  for (const StoredFamily& each : kFamilies) {
    if (each.*column == last) continue;
    last = each.*column;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", last);
  }
  return model_error(fmt::format("{}: models of type {} are not supported; supported: {}", origin,
                                 quoted_text(name), known));
}

}  // namespace

Result<const StoredFamily*> stored_family(const std::string& origin, std::string_view model_type) {
  return find_family(origin, model_type, &StoredFamily::model_type);
}

Result<const StoredFamily*> gguf_family(const std::string& origin, std::string_view architecture) {
  return find_family(origin, architecture, &StoredFamily::gguf_architecture);
}

Result<const StoredFamily*> stored_family(const Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string model_type, config.text("model_type"));
  return stored_family(config.origin(), model_type);
}

}  // namespace dunlin

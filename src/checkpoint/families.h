// The model families that checkpoints hold, and how each is named and stored in either container.
// src/models has the forward pass of each.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/metadata.h"
#include "base/result.h"

namespace dunlin {

// What a key that config.json leaves out stands for.
struct DefaultValue {
  const char* key;  // canonical
  double value;     // a whole number where the key is one
};

struct StoredFamily {
  std::string_view model_type;         // of config.json
  std::string_view gguf_architecture;  // general.architecture; other keys begin with it
  std::string_view architecture;       // of config.json's list
  std::span<const DefaultValue> defaults;
  // config.json says which projections have biases (attention_bias, mlp_bias); otherwise that is
  // the same for every model of the family.
  bool configured_biases = false;
  // GGUF has the rows of queries and keys in the order that rotates neighbours (llama.cpp's
  // convert_hf_to_gguf.py, LlamaModel.permute), and llama3's divisors as a tensor, rope_freqs.
  bool permuted_rope = false;
  bool mixture = false;  // feed-forward layers are mixtures of experts, and may be in MXFP4
  bool sinks = false;    // attention has a learned logit per head without a key
  bool windows = false;  // some layers see a window only; config.json lists them (layer_types)
  // What GGUF calls the norm before the feed-forward layer, or ffn_norm.
  bool post_attention_norm = false;
  // The range of YaRN's ramp is cut to whole pairs (truncate) in GGUF files, which do not say so.
  bool yarn_truncates = true;
  bool yarn_by_default = false;  // what a config.json without rope scaling means
  // Fills in masks: the configuration has mask_token_id, pad_token_id and diffusion.shift_logits.
  bool masked_diffusion = false;
  bool ollama_names = false;  // GGUF files that ollama converted; weight_parts.h has their names
};

// The architecture of gpt-oss in GGUF files that ollama converted (ollama, convert_gptoss.go).
inline constexpr std::string_view kOllamaGptOss = "gptoss";

// By model_type, or by GGUF's architecture. The error names `origin` and lists what is supported.
// Lives as long as the program.
Result<const StoredFamily*> stored_family(const std::string& origin, std::string_view model_type);
Result<const StoredFamily*> gguf_family(const std::string& origin, std::string_view architecture);

// Of a configuration, whose model_type is one that is supported.
Result<const StoredFamily*> stored_family(const Metadata& config);

}  // namespace dunlin

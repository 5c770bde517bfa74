// The model families that checkpoints hold, and how each is named and stored in either container.
// src/models has the forward pass of each.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

struct StoredFamily {
  std::string_view model_type;         // of config.json
  std::string_view architecture;       // of config.json's list
  std::string_view gguf_architecture;  // general.architecture, and the prefix of GGUF's keys
  // config.json says which projections have biases (attention_bias, mlp_bias); otherwise that is
  // the same for every model of the family.
  bool configured_biases;
  // GGUF has the rows of queries and keys in the order that rotates neighbours (llama.cpp's
  // convert_hf_to_gguf.py, LlamaModel.permute), and llama3's divisors as a tensor, rope_freqs.
  bool permuted_rope;
  // Fills in masks: the configuration has mask_token_id, pad_token_id and diffusion.shift_logits.
  bool masked_diffusion;
};

// By model_type. The error names `origin` and lists what is supported. Lives as long as the program.
Result<const StoredFamily*> stored_family(const std::string& origin, std::string_view model_type);
// The same by gguf_architecture.
Result<const StoredFamily*> stored_family_of_gguf(const std::string& origin,
                                                  std::string_view architecture);

}  // namespace dunlin

// Configurations of small models, as a checkpoint would give them.
#pragma once

#include <string>
#include <vector>

#include "base/metadata.h"
#include "models/registry.h"

namespace dunlin {

// The families that tiny_config() is whole for: all but the mixture, which has tests of its own.
inline std::vector<std::string> dense_families() {
  std::vector<std::string> families;
  for (const ModelFamily& family : model_families()) {
    if (family.model_type != std::string("gpt_oss")) families.emplace_back(family.model_type);
  }
  return families;
}

inline Metadata tiny_config(const std::string& family) {
  Metadata config("some/config.json");
  config.set("model_type", family);
  config.set("hidden_size", int64_t{64});
  config.set("num_hidden_layers", int64_t{3});
  config.set("num_attention_heads", int64_t{4});
  config.set("num_key_value_heads", int64_t{2});
  config.set("intermediate_size", int64_t{96});
  config.set("vocab_size", int64_t{128});
  config.set("rms_norm_eps", 1e-5);
  config.set("rope_theta", 10000.0);
  if (family == "Dream") config.set("mask_token_id", int64_t{127});
  return config;
}

inline Metadata with(Metadata config, const std::string& key, Metadata::Value value) {
  config.set(key, std::move(value));
  return config;
}

}  // namespace dunlin

// Configurations of small models, as a checkpoint would give them.
#pragma once

#include <string>

#include "base/metadata.h"

namespace dunlin {

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

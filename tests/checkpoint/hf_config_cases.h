// Configurations that tests change a key of, read as config.json.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "checkpoint/hf_config.h"
#include "tiny_model.h"

namespace dunlin {

inline Result<Metadata> read_json_config(
    const nlohmann::json& config, const std::optional<std::string>& generation = std::nullopt) {
  std::optional<ConfigText> second;
  if (generation) second = ConfigText{"generation_config.json", *generation};
  return read_hf_config({"config.json", config.dump()}, second);
}

inline Metadata config_of(const nlohmann::json& config,
                          const std::optional<std::string>& generation = std::nullopt) {
  auto result = read_json_config(config, generation);
  if (!result.ok()) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

inline nlohmann::json llama_json() {
  return nlohmann::json::parse(tiny_config());
}

inline nlohmann::json llama_with(const std::string& key, const nlohmann::json& value) {
  nlohmann::json config = llama_json();
  config[key] = value;
  return config;
}

inline nlohmann::json llama_without(const std::string& key) {
  nlohmann::json config = llama_json();
  config.erase(key);
  return config;
}

inline void expect_config_error(const nlohmann::json& config, const std::string& problem) {
  expect_model_error([&] { return read_json_config(config); }, "config.json", problem);
}

inline void expect_text_error(const std::string& text, const std::string& problem) {
  expect_model_error([&] { return read_hf_config({"config.json", text}, std::nullopt); },
                     "config.json", problem);
}

inline const nlohmann::json kLlama3 = {{"rope_type", "llama3"},
                                       {"factor", 8.0},
                                       {"low_freq_factor", 1.0},
                                       {"high_freq_factor", 4.0},
                                       {"original_max_position_embeddings", 8192}};

}  // namespace dunlin

// Translates config.json and generation_config.json of Hugging Face to the canonical configuration.
#pragma once

#include <optional>
#include <string>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/quantization_config.h"

namespace dunlin {

struct ConfigText {
  std::string origin;  // the file, for messages
  std::string text;
};

// Both spellings of rotary settings are read: rope_theta with rope_scaling, and rope_parameters of
// transformers 5. A null is a missing key. What a sliding-window, otherwise scaled or quantised
// model (quantization_config.h) needs is refused by name. Python code that the file names
// (auto_map) is never run; a warning says so.
Result<Metadata> read_hf_config(const ConfigText& config,
                                const std::optional<ConfigText>& generation);

// Of a config.json that read_hf_config() accepts.
Result<std::optional<QuantizationConfig>> read_hf_quantization(const ConfigText& config);

}  // namespace dunlin

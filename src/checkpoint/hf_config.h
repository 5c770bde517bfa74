// Translates config.json and generation_config.json of Hugging Face to the canonical configuration.
#pragma once

#include <optional>
#include <string>

#include "base/metadata.h"
#include "base/result.h"

namespace dunlin {

struct ConfigText {
  std::string origin;  // the file, for messages
  std::string text;
};

// Both spellings of rotary settings are read: rope_theta with rope_scaling, and rope_parameters of
// transformers 5. A null is a missing key. What a quantised, sliding-window or otherwise scaled
// model needs is refused by name. Python code that the file names (auto_map) is never run; a warning
// says so.
Result<Metadata> read_hf_config(const ConfigText& config,
                                const std::optional<ConfigText>& generation);

}  // namespace dunlin

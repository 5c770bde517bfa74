// config.json and generation_config.json from a canonical configuration.
#pragma once

#include <optional>
#include <string>

#include "base/metadata.h"
#include "base/result.h"
#include "formats/format.h"

namespace dunlin {

// `dtype` is what torch_dtype says. Errors (kind model): rope_freqs.weight is no scaling that
// config.json has words for.
Result<std::string> hf_config_text(const Metadata& config, Format dtype);

// Nothing where the configuration recommends no sampling.
std::optional<std::string> hf_generation_config_text(const Metadata& config);

}  // namespace dunlin

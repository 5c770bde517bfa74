// quantization_config of config.json: weights of 8-bit elements, whose scales are tensors beside
// them.
//
// Two methods have such scales: "compressed-tensors" (vllm-project/compressed-tensors; formats
// float-quantized, int-quantized and naive-quantized) and "fp8" (transformers'
// FineGrainedFP8Config, as DeepSeek and Qwen publish; vLLM's older one without blocks). A third,
// "mxfp4", is only named here: its scales are part of what they scale (mxfp4_pairs.h). What they say
// of activations is not used: the engine's precision decides how those are computed.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/format.h"

namespace dunlin {

struct QuantizationConfig {
  std::string method = {};
  bool integer = false;  // elements are I8, else F8
  // Rows and columns that share a scale; 0: one for a row or for the tensor, as the scales' shape
  // says.
  int64_t block_rows = 0, block_columns = 0;
  std::string scale_name = {};  // after the module's name: "weight_scale"
  std::vector<std::string> plain_modules =
      {};  // names, of which some are patterns of other programs
};

// Nothing for a document without it, or with a null. Errors (kind model) begin with `origin` and
// name the method or the key that is not supported.
Result<std::optional<QuantizationConfig>> read_quantization_config(const nlohmann::json& document,
                                                                   const std::string& origin);

}  // namespace dunlin

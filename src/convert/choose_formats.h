// Which format each tensor of a quantised model gets: the rules of llama.cpp's quantiser
// (src/llama-quant.cpp) for dense models.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "convert/quantize_type.h"
#include "convert/tensor_rules.h"
#include "convert/tensor_stream.h"

namespace dunlin {

struct FormatOptions {
  const QuantizeType* type = nullptr;
  std::vector<TensorRule> rules = {};  // the first that fits counts
  std::optional<Format> output = {};   // of output.weight, or of the embedding that stands for it
  std::optional<Format> token_embedding = {};
  bool pure = false;         // no mix: every matrix in the type's format
  bool keep_output = false;  // output.weight stays as it is
  bool imatrix = false;      // columns have an importance
};

// A matrix whose rows are not whole blocks of the format that the rules give it.
struct Fallback {
  std::string tensor;
  int64_t columns;
  Format wanted, used;
};

// Sets the format of each matrix; vectors stay as they are. `config` is the model's canonical one.
// Errors (kind usage): a pattern that is no regular expression or fits no matrix.
Result<std::vector<Fallback>> choose_formats(const Metadata& config, const FormatOptions& options,
                                             std::vector<TensorPlan>& tensors);

// An error (kind usage) that names the first tensor whose blocks would be encoded again.
Result<void> refuse_requantizing(const std::vector<TensorPlan>& tensors);

}  // namespace dunlin

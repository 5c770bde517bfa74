// DiffusionRunner: canvases of a masked diffusion model, many in one forward pass. Each is computed
// row by row as it would be alone, so that prompts of different lengths need no padding.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "decode/diffusion.h"
#include "engine/kv_options.h"
#include "engine/model.h"
#include "engine/plan_builder.h"
#include "step/step.h"

namespace dunlin {

struct DiffusionCanvas {
  DiffusionDecoder decoder;
  int32_t slot = -1;                // of the KV cache, until close()
  std::optional<Error> error = {};  // logits that were no numbers: nothing more comes

  bool over() const { return error.has_value() || decoder.pending() == nullptr; }
};

class DiffusionRunner {
 public:
  // `model` outlives the runner. Errors: a model that writes token after token (kind usage), a
  // tokenizer without the mask, no memory for the KV cache.
  static Result<DiffusionRunner> create(Model& model);

  // A canvas, at most Model::limits.sequences at a time. Errors (kind usage): an empty prompt, an id
  // outside the vocabulary, more positions than the context, more masks than one step has logits
  // for, and those of DiffusionDecoder::create. `mask_id`: instead of the model's.
  Result<std::unique_ptr<DiffusionCanvas>> open(std::vector<int32_t> prompt,
                                                const DiffusionParams& params,
                                                std::optional<int32_t> mask_id = std::nullopt);

  // One forward pass for those that are not over, as far as they fit, the first ones first. Returns
  // whose pass was made. Errors: of the device.
  Result<std::vector<DiffusionCanvas*>> step(std::span<DiffusionCanvas* const> canvases);

  // Gives the slot back.
  void close(DiffusionCanvas& canvas);

 private:
  explicit DiffusionRunner(Model& model);

  Model* model_;
  KvMemory kv_ = {};
  PlanBuilder builder_;
  StepOutput output_ = {};
};

// What ends an answer: the model's stop ids, its padding, and <|dlm_pad|>, <|endoftext|> and
// <|im_end|> where the tokenizer has them.
std::vector<int32_t> diffusion_end_ids(const Model& model);

}  // namespace dunlin

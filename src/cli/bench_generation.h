// Answers of a fixed length for a batch of random prompts, as `run` would compute them: what `bench
// sweep` measures, and `bench model` of a model that fills in masks.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "decode/diffusion_params.h"
#include "engine/model.h"

namespace dunlin {

struct GenerationShape {
  int64_t prompt = 32;  // tokens of each prompt
  int64_t tokens = 64;  // of each answer; nothing ends it before
  float temperature = 0.0f;
  // Of a model that fills in masks. max_tokens and temperature are those above, and end_ids empty.
  DiffusionParams diffusion = {};
};

// The model's options with memory for `batch` such answers at a time.
ModelOptions generation_options(ModelOptions options, const GenerationShape& shape, int64_t batch,
                                bool diffusion);

struct Generation {
  double seconds = 0;             // from the first step to the end of the last answer
  int64_t tokens = 0;             // of all answers
  int64_t forward_passes = 0;     // of the model, over whatever part of the batch
  double tokens_per_forward = 0;  // of one answer: 1 for token after token
};

class GenerationBench {
 public:
  virtual ~GenerationBench() = default;
  // `batch` prompts at once, others in every run. Errors: of the model's limits and the device; an
  // interrupt (kind runtime).
  virtual Result<Generation> run(int64_t batch) = 0;
};

// `model` was loaded with generation_options() and outlives it. Errors: no memory for the KV cache.
Result<std::unique_ptr<GenerationBench>> make_generation_bench(Model& model,
                                                               const GenerationShape& shape);

}  // namespace dunlin

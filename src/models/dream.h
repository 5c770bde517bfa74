// Dream and DiffuCoder: masked diffusion language models (model_type "Dream").
#pragma once

#include <cstdint>

#include "base/metadata.h"
#include "base/result.h"
#include "program/recorder.h"

namespace dunlin {

// How the outputs of a masked diffusion model are read.
struct MaskedDiffusion {
  int32_t mask_id = 0;       // the token that stands for what is not known yet
  bool shift_logits = true;  // row j - 1 of the logits predicts position j; false: row j does
};

// From mask_token_id and diffusion.shift_logits. Errors: a mask that is missing, or outside the
// vocabulary.
Result<MaskedDiffusion> masked_diffusion(const Metadata& config);

Result<Program> record_dream(const Metadata& config, const RecordOptions& options);

}  // namespace dunlin

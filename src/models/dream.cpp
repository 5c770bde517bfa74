// Dream 7B, Dream-Coder and DiffuCoder: Qwen2's block, but every position attends all positions, so
// that masked ones are predicted from both sides. Source: "Dream 7B: Diffusion Large Language
// Models" (2025) and its published modeling_dream.py; "DiffuCoder" (2025) has the same network.
#include "models/dream.h"

#include <fmt/format.h>

#include "models/llama.h"

namespace dunlin {

Result<MaskedDiffusion> masked_diffusion(const Metadata& config) {
  MaskedDiffusion diffusion;
  DUNLIN_ASSIGN_OR_RETURN(const int64_t vocabulary, config.integer("vocab_size", 1, 1 << 24));
  DUNLIN_ASSIGN_OR_RETURN(const int64_t mask, config.integer("mask_token_id", 0, INT32_MAX));
  if (mask >= vocabulary) {
    return model_error(fmt::format("{}: mask_token_id {} is outside the vocabulary of {}",
                                   config.origin(), mask, vocabulary));
  }
  diffusion.mask_id = static_cast<int32_t>(mask);
  DUNLIN_ASSIGN_OR_RETURN(diffusion.shift_logits,
                          config.boolean_or("diffusion.shift_logits", true));
  return diffusion;
}

Result<Program> record_dream(const Metadata& config, const RecordOptions& options) {
  if (const auto diffusion = masked_diffusion(config); !diffusion.ok()) return diffusion.error();
  return record_qwen2_block("dream", config, MaskKind::full, options);
}

}  // namespace dunlin

// An explicit list: registration by static objects is dropped by linkers from static libraries.
#include "models/registry.h"

#include <fmt/format.h>

#include "models/dream.h"
#include "models/gpt_oss.h"
#include "models/llama.h"

namespace dunlin {
namespace {

constexpr ModelFamily kFamilies[] = {
    {"llama", "Llama 3, 3.1, 3.2, 3.3, SmolLM2, DeepSeek-R1-Distill-Llama", record_llama},
    {"qwen2", "Qwen2, Qwen2.5, DeepSeek-R1-Distill-Qwen", record_qwen2},
    {"gpt_oss", "gpt-oss-20b, gpt-oss-120b", record_gpt_oss},
    {"Dream", "Dream, Dream-Coder, DiffuCoder (masked diffusion)", record_dream, masked_diffusion},
};

Result<const ModelFamily*> family_of(const Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string type, config.text("model_type"));
  std::string known;
  for (const ModelFamily& family : kFamilies) {
    if (type == family.model_type) return &family;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", family.model_type);
  }
  return model_error(fmt::format("{}: model_type \"{}\" is not supported (known: {})",
                                 config.origin(), type, known));
}

}  // namespace

std::span<const ModelFamily> model_families() {
  return kFamilies;
}

Result<Program> record_model(const Metadata& config, const RecordOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(const ModelFamily* const family, family_of(config));
  return family->record(config, options);
}

Result<std::optional<MaskedDiffusion>> diffusion_of(const Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(const ModelFamily* const family, family_of(config));
  std::optional<MaskedDiffusion> diffusion;
  if (family->diffusion != nullptr) {
    DUNLIN_ASSIGN_OR_RETURN(diffusion, family->diffusion(config));
  }
  return diffusion;
}

}  // namespace dunlin

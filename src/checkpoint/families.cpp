#include "checkpoint/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/text_checks.h"

namespace dunlin {
namespace {

constexpr StoredFamily kFamilies[] = {
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .gguf_architecture = "llama",
     .configured_biases = true,
     .permuted_rope = true,
     .masked_diffusion = false},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .gguf_architecture = "qwen2",
     .configured_biases = false,
     .permuted_rope = false,
     .masked_diffusion = false},
    {.model_type = "Dream",
     .architecture = "DreamModel",
     .gguf_architecture = "dream",
     .configured_biases = false,
     .permuted_rope = false,
     .masked_diffusion = true},
};

Result<const StoredFamily*> find_family(const std::string& origin, std::string_view name,
                                        std::string_view StoredFamily::* column) {
  const auto* const family = std::ranges::find(kFamilies, name, column);
  if (family != std::end(kFamilies)) return family;
  std::string known;
  for (const StoredFamily& each : kFamilies)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", each.*column);
  return model_error(fmt::format("{}: models of type {} are not supported; supported: {}", origin,
                                 quoted_text(name), known));
}

}  // namespace

Result<const StoredFamily*> stored_family(const std::string& origin, std::string_view model_type) {
  return find_family(origin, model_type, &StoredFamily::model_type);
}

Result<const StoredFamily*> stored_family_of_gguf(const std::string& origin,
                                                  std::string_view architecture) {
  return find_family(origin, architecture, &StoredFamily::gguf_architecture);
}

}  // namespace dunlin

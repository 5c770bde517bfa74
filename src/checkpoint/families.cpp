#include "checkpoint/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/text_checks.h"

namespace dunlin {
namespace {

constexpr StoredFamily kFamilies[] = {
    {"llama", "LlamaForCausalLM", /*configured_biases=*/true, /*permuted_rope=*/true},
    {"qwen2", "Qwen2ForCausalLM", /*configured_biases=*/false, /*permuted_rope=*/false},
};

}  // namespace

Result<const StoredFamily*> stored_family(const std::string& origin, std::string_view model_type) {
  const auto* const family = std::ranges::find(kFamilies, model_type, &StoredFamily::model_type);
  if (family != std::end(kFamilies)) return family;
  std::string known;
  for (const StoredFamily& each : kFamilies)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", each.model_type);
  return model_error(fmt::format("{}: models of type {} are not supported; supported: {}", origin,
                                 quoted_text(model_type), known));
}

}  // namespace dunlin

#include "engine/request_validation.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin {

Result<void> validate(const Request& request, const Model& model) {
  if (request.prompt.empty()) return usage_error("the prompt is empty");
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= model.vocabulary) {
      return usage_error(
          fmt::format("token {} of the prompt is outside 0..{}", id, model.vocabulary - 1));
    }
  }
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt >= model.limits.context) {
    return usage_error(
        fmt::format("the prompt has {} tokens, the context {}; it leaves no room for an answer",
                    prompt, model.limits.context));
  }
  if (request.max_tokens < -1)
    return usage_error(fmt::format("max_tokens is {}", request.max_tokens));
  if (!request.stop.empty() && model.text.tokenizer == nullptr) {
    return usage_error("stop strings need a tokenizer, which this model does not have");
  }
  return validate(request.sampling, model.vocabulary);
}

AutoregressiveParams decoder_params(const Request& request, const Model& model) {
  AutoregressiveParams params{.sampling = request.sampling,
                              .custom_sampler = request.custom_sampler,
                              .stop_ids = request.stop_ids};
  const int64_t room = model.limits.context - static_cast<int64_t>(request.prompt.size());
  params.max_tokens = request.max_tokens < 0 ? room : std::min(request.max_tokens, room);
  if (!request.ignore_eos) {
    params.stop_ids.insert(params.stop_ids.end(), model.stop_ids.begin(), model.stop_ids.end());
  }
  return params;
}

}  // namespace dunlin

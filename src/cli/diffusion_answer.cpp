#include "cli/diffusion_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "cli/diffusion_view.h"
#include "engine/stop_matcher.h"
#include "tokenizer/stream_decoder.h"

namespace dunlin {
namespace {

// Ids and text up to a stop string; true: there was one.
bool take_text(std::span<const int32_t> ids, const std::vector<std::string>& stop,
               const Model& model, Answer& answer) {
  if (model.text.tokenizer == nullptr) {
    answer.ids.assign(ids.begin(), ids.end());
    return false;
  }
  StreamDecoder text(model.text.tokenizer, /*skip_special=*/true);
  StopMatcher stops(stop);
  for (const int32_t id : ids) {
    const auto output = stops.feed(text.feed(id));
    answer.text += output.text;
    answer.ids.push_back(id);
    if (output.stopped) return true;
  }
  const auto rest = stops.feed(text.flush());
  answer.text += rest.text + stops.flush();
  return rest.stopped;
}

// The prompt, where it had masks of its own.
void take_infilled(const DiffusionDecoder& decoder, const Model& model, Answer& answer) {
  const auto& asked = answer.prompt_ids;
  if (std::ranges::find(asked, model.diffusion->mask_id) == asked.end()) return;
  const auto filled = decoder.canvas().first(static_cast<size_t>(decoder.prompt_size()));
  answer.infilled_ids.assign(filled.begin(), filled.end());
  if (model.text.tokenizer != nullptr)
    answer.infilled_text = model.text.tokenizer->decode(filled, /*skip_special=*/true);
}

}  // namespace

Result<DiffusionParams> answer_params(const DiffusionFlags& flags, const SamplingFlags& sampling,
                                      int64_t max_tokens, const Metadata& config) {
  DUNLIN_ASSIGN_OR_RETURN(DiffusionParams params, flags.params(sampling, config));
  if (max_tokens >= 0) params.max_tokens = max_tokens;
  params.steps = flags.steps.value_or(std::max<int64_t>(1, params.max_tokens));
  params.seed = sampling.seed.has_value() ? *sampling.seed : std::random_device{}();
  return params;
}

ChatSettings settings_of(const DiffusionParams& params) {
  ChatSettings settings{.max_tokens = params.max_tokens, .diffusion = true};
  settings.sampling.temperature = params.temperature;
  settings.sampling.top_k = params.top_k;
  settings.sampling.top_p = params.top_p;
  settings.sampling.seed = params.seed;
  return settings;
}

void take_settings(const ChatSettings& settings, bool steps_follow_tokens,
                   DiffusionParams& params) {
  params.temperature = settings.sampling.temperature;
  params.top_k = settings.sampling.top_k;
  params.top_p = settings.sampling.top_p;
  params.seed = settings.sampling.seed;
  if (settings.max_tokens >= 0) params.max_tokens = settings.max_tokens;
  if (steps_follow_tokens) params.steps = std::max<int64_t>(1, params.max_tokens);
}

std::span<const int32_t> behind_prompt(const DiffusionDecoder& decoder) {
  return decoder.canvas().subspan(static_cast<size_t>(decoder.prompt_size()));
}

std::string canvas_title(const DiffusionDecoder& decoder) {
  return fmt::format("step {}, {} forward passes, {} masks left", decoder.decided().size(),
                     decoder.forward_passes(), decoder.masked());
}

nlohmann::ordered_json canvas_json(size_t index, const DiffusionDecoder& decoder,
                                   const Model& model) {
  const auto ids = behind_prompt(decoder);
  return {{"schema_version", 1},
          {"index", index},
          {"step", decoder.decided().size()},
          {"forward_passes", decoder.forward_passes()},
          {"masked", decoder.masked()},
          {"ids", std::vector<int32_t>(ids.begin(), ids.end())},
          {"text", canvas_text(ids, model.diffusion->mask_id, model.text.tokenizer.get())}};
}

void take_answer(const DiffusionCanvas& canvas, std::span<const int32_t> end_ids,
                 const std::vector<std::string>& stop, double milliseconds, const Model& model,
                 Answer& answer) {
  const DiffusionDecoder& decoder = canvas.decoder;
  const auto ids = behind_prompt(decoder);
  auto end = std::ranges::find_first_of(ids, end_ids);
  const bool ended = end != ids.end();
  if (!canvas.over()) end = std::find(ids.begin(), end, model.diffusion->mask_id);
  const bool stopped =
      take_text(ids.first(static_cast<size_t>(end - ids.begin())), stop, model, answer);
  take_infilled(decoder, model, answer);
  answer.reason = stopped || ended ? FinishReason::stop : FinishReason::length;
  answer.shown = answer.text;
  answer.error = canvas.error;
  answer.stats.prompt_tokens = decoder.prompt_size();
  answer.stats.predicted_tokens = std::ssize(answer.ids);
  answer.stats.predicted_ms = milliseconds;
  answer.forward_passes = decoder.forward_passes();
  answer.done = canvas.over();
}

}  // namespace dunlin

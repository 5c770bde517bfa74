// The C API's requests: queueing, events, sampling and steps.
#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "c_api/handle.h"
#include "c_api/sized_struct.h"

namespace dunlin {
namespace {

template <typename T>
Result<std::vector<T>> copied(const T* from, size_t count) {
  if (from == nullptr && count > 0) return Error{ErrorKind::usage, kNull};
  return std::vector<T>(from, from + count);
}

dunlin_sampling fields_of(const SamplingParams& params) {
  return {.struct_size = sizeof(dunlin_sampling),
          .temperature = params.temperature,
          .top_k = params.top_k,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .repeat_penalty = params.repeat_penalty,
          .frequency_penalty = params.frequency_penalty,
          .presence_penalty = params.presence_penalty,
          .repeat_last_n = params.repeat_last_n,
          .logit_bias = nullptr,
          .logit_bias_count = 0,
          .seed = params.seed};
}

Result<SamplingParams> sampling_of(const dunlin_sampling* given, const SamplingParams& defaults) {
  if (given == nullptr) return defaults;
  dunlin_sampling fields = fields_of(defaults);
  if (!read_struct(given, fields)) return Error{ErrorKind::usage, kStruct};
  SamplingParams params{.temperature = fields.temperature,
                        .top_k = fields.top_k,
                        .top_p = fields.top_p,
                        .min_p = fields.min_p,
                        .repeat_penalty = fields.repeat_penalty,
                        .frequency_penalty = fields.frequency_penalty,
                        .presence_penalty = fields.presence_penalty,
                        .repeat_last_n = fields.repeat_last_n,
                        .seed = fields.seed};
  const auto bias = copied(fields.logit_bias, fields.logit_bias_count);
  if (!bias.ok()) return bias.error();
  for (const dunlin_logit_bias& entry : *bias) params.logit_bias.emplace_back(entry.id, entry.bias);
  return params;
}

CustomSampler custom_sampler(dunlin_sampler sampler, void* user) {
  if (sampler == nullptr) return {};
  return [sampler, user](const SamplerInput& input) -> std::optional<int32_t> {
    const dunlin_logits logits = {.struct_size = sizeof(dunlin_logits),
                                  .tokens = input.tokens.data(),
                                  .token_count = input.tokens.size(),
                                  .prompt_count = input.prompt_tokens,
                                  .ids = input.ids.data(),
                                  .logits = input.logits.data(),
                                  .candidate_count = input.ids.size(),
                                  .log_sum_exp = input.log_sum_exp,
                                  .entropy = input.entropy,
                                  .varentropy = input.varentropy,
                                  .uniform = input.uniform,
                                  .source = &input};
    const int32_t id = sampler(user, &logits);
    return id == -1 ? std::nullopt : std::optional(id);
  };
}

dunlin_event fields_of(const Event& event) {
  const bool has_error = event.error.has_value();
  return {.struct_size = sizeof(dunlin_event),
          .request = event.request,
          .kind = static_cast<int32_t>(event.kind),
          .token = event.token.value_or(-1),
          .text = event.text.c_str(),
          .text_size = event.text.size(),
          .finish_reason = static_cast<int32_t>(event.reason),
          .status = has_error ? static_cast<dunlin_status>(event.error->kind) : DUNLIN_OK,
          .error = has_error ? event.error->message.c_str() : nullptr,
          .prompt_tokens = event.stats.prompt_tokens,
          .cached_tokens = event.stats.cached_tokens,
          .predicted_tokens = event.stats.predicted_tokens,
          .prompt_ms = event.stats.prompt_ms,
          .predicted_ms = event.stats.predicted_ms};
}
static_assert(static_cast<int32_t>(Event::Kind::token) == DUNLIN_EVENT_TOKEN);
static_assert(static_cast<int32_t>(Event::Kind::finished) == DUNLIN_EVENT_FINISHED);
static_assert(static_cast<int32_t>(Event::Kind::failed) == DUNLIN_EVENT_FAILED);
static_assert(static_cast<int32_t>(FinishReason::stop) == DUNLIN_FINISH_STOP);
static_assert(static_cast<int32_t>(FinishReason::length) == DUNLIN_FINISH_LENGTH);

Result<dunlin_request> read_request(const dunlin_request* given) {
  dunlin_request fields = {};
  fields.max_tokens = -1;
  if (!read_struct(given, fields) || fields.reserved != 0) return Error{ErrorKind::usage, kStruct};
  return fields;
}

Result<Request> request_of(const dunlin_request& fields, const ModelInfo& model) {
  Request request{.max_tokens = fields.max_tokens,
                  .ignore_eos = fields.ignore_eos != 0,
                  .session = fields.session};
  auto prompt = copied(fields.prompt, fields.prompt_count);
  auto stop_ids = copied(fields.stop_ids, fields.stop_id_count);
  const auto stop = copied(fields.stop, fields.stop_count);
  auto sampling = sampling_of(fields.sampling, model.sampling);
  if (!prompt.ok()) return prompt.error();
  if (!stop_ids.ok()) return stop_ids.error();
  if (!stop.ok()) return stop.error();
  if (!sampling.ok()) return sampling.error();
  request.prompt = *std::move(prompt);
  request.stop_ids = *std::move(stop_ids);
  request.sampling = *std::move(sampling);
  for (const char* text : *stop) {
    if (text == nullptr) return Error{ErrorKind::usage, kNull};
    request.stop.emplace_back(text);
  }
  request.custom_sampler = custom_sampler(fields.sampler, fields.user);
  return request;
}

// What answers a request of the C API.
struct Callbacks {
  dunlin_event_callback on_event = nullptr;
  dunlin_channel_callback on_text = nullptr;
  void* user = nullptr;

  // False: the request is to be cancelled.
  bool give(const Event& event) const {
    if (on_text != nullptr && !give_text(event)) return false;
    if (on_event == nullptr) return true;
    const dunlin_event fields = fields_of(event);
    return on_event(user, &fields) == 0;
  }

 private:
  // The answer's text comes first, as Event says.
  bool give_text(const Event& event) const {
    if (!event.text.empty() && !give_piece(event.request, "final", "", event.text, false))
      return false;
    return std::ranges::all_of(event.channels, [&](const ChannelText& piece) {
      return give_piece(event.request, piece.channel.c_str(), piece.recipient.c_str(), piece.text,
                        piece.begins);
    });
  }

  bool give_piece(RequestId request, const char* channel, const char* recipient,
                  const std::string& text, bool begins) const {
    const dunlin_channel_text piece = {.struct_size = sizeof(dunlin_channel_text),
                                       .request = request,
                                       .channel = channel,
                                       .recipient = recipient,
                                       .text = text.c_str(),
                                       .text_size = text.size(),
                                       .begins = begins ? 1 : 0,
                                       .reserved = 0};
    return on_text(user, &piece) == 0;
  }
};

// How a request of dunlin_generate() ends; its sink holds it as long as there is one.
struct Outcome {
  bool over = false;
  std::optional<Error> error = {};
};

Result<RequestId> submit(dunlin_engine& engine, const dunlin_request* given,
                         std::shared_ptr<Outcome> outcome) {
  auto fields = read_request(given);
  if (!fields.ok()) return fields.error();
  auto request = request_of(*fields, engine.engine.model());
  if (!request.ok()) return request.error();
  const Callbacks callbacks{fields->on_event, fields->on_text, fields->user};
  return engine.engine.submit(
      *std::move(request), [&engine, callbacks, outcome = std::move(outcome)](const Event& event) {
        if (outcome != nullptr && event.kind != Event::Kind::token) {
          outcome->over = true;
          outcome->error = event.error;
        }
        if (!callbacks.give(event)) engine.engine.cancel(event.request);
      });
}

// The thread that steps; one at a time.
class Owner {
 public:
  explicit Owner(dunlin_engine& engine) : engine_(engine), is_(!engine.stepping.exchange(true)) {}
  ~Owner() {
    if (is_) engine_.stepping = false;
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  explicit operator bool() const { return is_; }

 private:
  dunlin_engine& engine_;
  bool is_;
};

constexpr const char* kBusy = "another thread, or this one from a callback, is stepping the engine";

}  // namespace
}  // namespace dunlin

using namespace dunlin;

dunlin_status dunlin_sampling_default(const dunlin_engine* engine, dunlin_sampling* sampling) {
  if (engine == nullptr || sampling == nullptr) return usage(kNull);
  const bool written = write_struct(fields_of(engine->engine.model().sampling), sampling);
  return written ? dunlin_status{DUNLIN_OK} : usage(kStruct);
}

const float* dunlin_logits_row(const dunlin_logits* logits, size_t* count) {
  const bool has_row = logits != nullptr && logits->source != nullptr;
  const auto row =
      has_row ? static_cast<const SamplerInput*>(logits->source)->row() : std::span<const float>();
  if (count != nullptr) *count = row.size();
  return row.data();
}

dunlin_status dunlin_submit(dunlin_engine* engine, const dunlin_request* request, uint64_t* id) {
  return without_exceptions([&] {
    if (engine == nullptr || request == nullptr) return usage(kNull);
    const auto submitted = submit(*engine, request, nullptr);
    if (!submitted.ok()) return failed(submitted.error());
    if (id != nullptr) *id = *submitted;
    return dunlin_status{DUNLIN_OK};
  });
}

dunlin_status dunlin_cancel(dunlin_engine* engine, uint64_t id) {
  return without_exceptions([&] {
    if (engine == nullptr) return usage(kNull);
    engine->engine.cancel(id);
    return dunlin_status{DUNLIN_OK};
  });
}

dunlin_status dunlin_end_session(dunlin_engine* engine, uint64_t session) {
  return without_exceptions([&] {
    if (engine == nullptr) return usage(kNull);
    engine->engine.end_session(session);
    return dunlin_status{DUNLIN_OK};
  });
}

dunlin_status dunlin_step(dunlin_engine* engine, int32_t* more) {
  return without_exceptions([&] {
    if (engine == nullptr) return usage(kNull);
    const Owner owner(*engine);
    if (!owner) return usage(kBusy);
    const bool left = engine->engine.step();
    if (more != nullptr) *more = left;
    return dunlin_status{DUNLIN_OK};
  });
}

dunlin_status dunlin_run_until_idle(dunlin_engine* engine) {
  return without_exceptions([&] {
    if (engine == nullptr) return usage(kNull);
    const Owner owner(*engine);
    if (!owner) return usage(kBusy);
    engine->engine.run_until_idle();
    return dunlin_status{DUNLIN_OK};
  });
}

dunlin_status dunlin_generate(dunlin_engine* engine, const dunlin_request* request) {
  return without_exceptions([&] {
    if (engine == nullptr || request == nullptr) return usage(kNull);
    const Owner owner(*engine);
    if (!owner) return usage(kBusy);
    const auto outcome = std::make_shared<Outcome>();
    const auto submitted = submit(*engine, request, outcome);
    if (!submitted.ok()) return failed(submitted.error());
    try {
      while (!outcome->over && outcome.use_count() > 1) engine->engine.step();
    } catch (...) {  // of another request's callback
      engine->engine.cancel(*submitted);
      throw;
    }
    if (!outcome->over) return failed(DUNLIN_ERROR_CANCELLED, "the request was cancelled");
    return outcome->error ? failed(*outcome->error) : dunlin_status{DUNLIN_OK};
  });
}

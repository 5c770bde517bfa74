#include "engine/active_request.h"

#include <new>
#include <utility>

namespace dunlin {
namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

ActiveRequest::ActiveRequest(RequestId request_id, Request request, AutoregressiveParams params,
                             const TextModel& text, EventSink sink)
    : id(request_id),
      session(request.session),
      decoder(std::move(request.prompt), std::move(params)),
      sink_(std::move(sink)) {
  if (text.tokenizer != nullptr) text_.emplace(text, decoder.tokens(), std::move(request.stop));
  stats_.prompt_tokens = decoder.prompt_size();
}

void ActiveRequest::begin(int64_t cached_tokens) {
  if (started_) return;
  stats_.cached_tokens = cached_tokens;
  started_ = last_token_ = Clock::now();
}

Result<void> ActiveRequest::accept(const LogitsView& view) {
  std::optional<int32_t> token;
  DUNLIN_RETURN_IF_ERROR(draw(view, token));
  if (!token) return {};
  last_token_ = Clock::now();
  if (!first_token_) {
    first_token_ = last_token_;
    stats_.prompt_ms = milliseconds(last_token_ - *started_);
  }
  if (decoder.finished() != FinishReason::stop) send_token(*token);
  return {};
}

// No token: the custom sampler threw.
Result<void> ActiveRequest::draw(const LogitsView& view, std::optional<int32_t>& token) {
  try {
    DUNLIN_ASSIGN_OR_RETURN(token, decoder.accept(view));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
    keep_exception();
  }
  return {};
}

void ActiveRequest::send_token(int32_t token) {
  Event event{.kind = Event::Kind::token, .request = id, .token = token};
  if (text_.has_value() && text_->feed(token, event)) decoder.finish(FinishReason::stop);
  send(event);
}

void ActiveRequest::finish() {
  stats_.predicted_tokens = std::ssize(decoder.answer());
  stats_.predicted_ms = milliseconds(last_token_ - first_token_.value_or(last_token_));
  Event event{
      .kind = Event::Kind::finished, .request = id, .reason = *decoder.finished(), .stats = stats_};
  if (text_.has_value()) text_->finish(event);
  ended_ = true;
  send(event);
}

void ActiveRequest::fail(const Error& error) {
  ended_ = true;
  send({.kind = Event::Kind::failed, .request = id, .error = error});
}

void ActiveRequest::send(const Event& event) {
  if (cancelled) return;
  try {
    sink_(event);
  } catch (...) {
    keep_exception();
  }
}

void ActiveRequest::keep_exception() {
  cancelled = true;
  exception_ = std::current_exception();
}

}  // namespace dunlin

// ActiveRequest: a request from submit() to its last event: how far its sequence is, and how tokens
// become events.
#pragma once

#include <dunlin/request.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>

#include "decode/autoregressive.h"
#include "engine/answer_text.h"
#include "engine/text_model.h"

namespace dunlin {

class ActiveRequest {
 public:
  // Without a tokenizer events carry ids and no text.
  ActiveRequest(RequestId id, Request request, AutoregressiveParams params, const TextModel& text,
                EventSink sink);

  const RequestId id;
  // Set by any thread; 0: nothing is left behind for a session.
  std::atomic<SessionId> session;
  // Set by any thread: no event comes any more.
  std::atomic<bool> cancelled = false;

  // The rest belongs to the owner of step().
  int32_t slot = -1;  // of the KV cache while the request runs
  AutoregressiveDecoder decoder;

  // The request runs: for the first time, or again after it gave its slot up.
  void begin(int64_t cached_tokens);
  bool has_begun() const { return started_.has_value(); }
  // The last event was sent, or nobody wants it.
  bool over() const { return ended_ || cancelled; }

  // Draws a token from the logits and sends its event; the answer may be at its end then, which
  // decoder.finished() says. An error is not sent.
  Result<void> accept(const LogitsView& view);
  void finish();  // for the decoder's reason
  void fail(const Error& error);

  // What the sink or the custom sampler threw; null: nothing.
  const std::exception_ptr& exception() const { return exception_; }

 private:
  using Clock = std::chrono::steady_clock;

  Result<void> draw(const LogitsView& view, std::optional<int32_t>& token);
  void send_token(int32_t token);
  void send(const Event& event);
  void keep_exception();  // of the caller's code that is being handled; ends the request

  EventSink sink_;
  std::optional<AnswerText> text_ = {};
  RequestStats stats_ = {};
  std::optional<Clock::time_point> started_ = {};
  std::optional<Clock::time_point> first_token_ = {};
  Clock::time_point last_token_ = {};
  bool ended_ = false;
  std::exception_ptr exception_ = {};
};

}  // namespace dunlin

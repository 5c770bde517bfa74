// What a caller asks of the engine, and the events that answer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <dunlin/result.h>
#include <dunlin/sampling.h>

namespace dunlin {

using RequestId = uint64_t;
using SessionId = uint64_t;

enum class FinishReason : uint8_t {
  stop,   // a stop token or stop string
  length  // max_tokens, or the context is full
};

struct Request {
  std::vector<int32_t> prompt = {};
  SamplingParams sampling = {};
  CustomSampler custom_sampler = {};   // empty: `sampling` alone
  int64_t max_tokens = -1;             // of the answer; -1: until the context is full
  std::vector<int32_t> stop_ids = {};  // besides the model's
  std::vector<std::string> stop = {};  // strings; need a tokenizer
  bool ignore_eos = false;             // the model's stop ids are tokens like any other
  // Not 0: the sequence's cache is kept under this id after the answer, and a later request of the
  // same session computes only from the first token that differs.
  SessionId session = 0;
};

struct RequestStats {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
  int64_t predicted_tokens = 0;
  double prompt_ms = 0;     // from the first step of the request to its first token
  double predicted_ms = 0;  // from the first token to the last
};

// What a model says beside its answer, where its chat format has channels (Harmony of GPT-OSS):
// thoughts, and calls of tools.
struct ChannelText {
  std::string channel = {};    // "analysis", "commentary"
  std::string recipient = {};  // of a call: "functions.get_weather"; its text is the arguments
  std::string text = {};       // that became certain, complete UTF-8
  bool begins = false;         // a message, of which more pieces may follow
};

struct Event {
  enum class Kind : uint8_t { token, finished, failed } kind = Kind::token;
  RequestId request = 0;
  std::optional<int32_t> token = {};  // of kind token; absent when only held-back text came free
  std::string text = {};  // of kinds token and finished: text that became certain, complete UTF-8
  std::vector<ChannelText> channels = {};    // likewise, beside the answer and after its text
  FinishReason reason = FinishReason::stop;  // of kind finished
  RequestStats stats = {};                   // of kind finished
  std::optional<Error> error = {};           // of kind failed
};

// Called by the owner of step(), in order. One that throws ends its request as cancel() does.
using EventSink = std::function<void(const Event&)>;

}  // namespace dunlin

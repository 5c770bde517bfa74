// Engine: continuous batching of requests over one model. One owner calls step(); submit() and cancel() may be called
// from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "base/result.h"
#include "decode/autoregressive.h"
#include "engine/model.h"
#include "step/sampling_params.h"

namespace dunlin {

using RequestId = uint64_t;
using SessionId = uint64_t;

struct Request {
  std::vector<int32_t> prompt = {};
  SamplingParams sampling = {};
  int64_t max_tokens = -1;             // of the answer; -1: until the context is full
  std::vector<int32_t> stop_ids = {};  // besides the model's
  std::vector<std::string> stop = {};  // strings; need a tokenizer
  bool ignore_eos = false;             // the model's stop ids are tokens like any other
  // Not 0: the sequence's cache is kept under this id after the answer, and a later request of the same session computes
  // only from the first token that differs.
  SessionId session = 0;
};

struct RequestStats {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
  int64_t predicted_tokens = 0;
  double prompt_ms = 0;     // from the first step of the request to its first token
  double predicted_ms = 0;  // from the first token to the last
};

struct Event {
  enum class Kind : uint8_t { token, finished, failed } kind = Kind::token;
  RequestId request = 0;
  std::optional<int32_t> token = {};  // of kind token; absent when only held-back text came free
  std::string text = {};  // of kinds token and finished: text that became certain, complete UTF-8
  FinishReason reason = FinishReason::stop;  // of kind finished
  RequestStats stats = {};                   // of kind finished
  std::optional<Error> error = {};           // of kind failed
};

// Called by the owner of step(), in order.
using EventSink = std::function<void(const Event&)>;

class Engine {
 public:
  // `model` outlives the engine.
  static Result<std::unique_ptr<Engine>> create(Model& model);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. Errors (kind usage): an empty prompt, an id outside the vocabulary, a prompt that leaves no room in
  // the context, a parameter out of range.
  Result<RequestId> submit(Request request, EventSink sink);
  // At the next step the request is gone; no event of it follows. An id that is unknown or finished is ignored.
  void cancel(RequestId request);
  // Gives back what the session holds; its requests that wait or run now finish without leaving anything.
  void end_session(SessionId session);

  // What the bytes of a session are valid for: the key of an artifact with one.
  Result<std::string> session_key() const;
  // Adds to `writer` what the session holds between its requests, so that load_session continues it
  // without computing it again. Returns the number of tokens, 0 when there is nothing that could be
  // continued. Owner of step().
  Result<int64_t> save_session(SessionId session, ArtifactWriter& writer) const;
  // Takes that over, in the place of what the session holds. The caller has compared the keys.
  // Returns the number of tokens. Owner of step(). Errors: damage, and more tokens
  // than the context (kind usage).
  Result<int64_t> load_session(SessionId session, const ArtifactReader& reader);

  // Runs one step of the model over whatever is ready. False: nothing was left to do.
  bool step();
  void run_until_idle() {
    while (step()) {
    }
  }

  uint64_t kv_bytes() const;
  int64_t steps() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dunlin

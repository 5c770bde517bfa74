// Engine: continuous batching of requests over one model. One owner calls step(); submit(),
// cancel() and end_session() may be called from any thread.
//
//     RequestQueue   who waits and who runs                any thread, then the owner
//     Sessions       sequences that wait for their next request
//     Scheduler      rows and pages of the next step       pure bookkeeping
//     ActiveRequest  tokens in, events out
#pragma once

#include <dunlin/request.h>

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "engine/model.h"

namespace dunlin {

class Engine {
 public:
  // `model` outlives the engine.
  static Result<std::unique_ptr<Engine>> create(Model& model);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. Errors (kind usage): an empty prompt, an id outside the vocabulary, a prompt
  // that leaves no room in the context, a parameter out of range.
  Result<RequestId> submit(Request request, EventSink sink);
  // No event of the request follows, but for one that is being sent by another thread right now; at
  // the next step its pages are free. An id that is unknown or finished is ignored.
  void cancel(RequestId request);
  // Gives back what the session holds; its requests that wait or run now finish without leaving
  // anything.
  void end_session(SessionId session);

  // Runs one step of the model over whatever is ready. False: nothing was left to do. What an event
  // sink threw is thrown again, when the step is complete; the request of that sink is gone. No
  // sink may call it.
  bool step();
  void run_until_idle() {
    while (step()) {
    }
  }

  uint64_t kv_bytes() const;
  int64_t steps() const;
  int64_t preemptions() const;  // of sequences that gave up their pages and were computed again

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dunlin

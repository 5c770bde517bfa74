// EngineCore: continuous batching of requests over one model. It joins
//
//     RequestQueue   who waits and who runs: any thread, then the owner of step()
//     Sessions       sequences that wait for their next request
//     Scheduler      rows and pages of the next step: pure bookkeeping
//     PlanBuilder    the step as the back end takes it
//     ActiveRequest  logits in, events out
//
// and runs the model. <dunlin/engine.h> says what its functions promise.
#pragma once

#include <dunlin/engine.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "artifact/reader.h"
#include "artifact/writer.h"
#include "cache/kv_cache.h"
#include "engine/model.h"
#include "engine/plan_builder.h"
#include "engine/request_queue.h"
#include "engine/scheduler.h"
#include "engine/sessions.h"

namespace dunlin {

// What an engine is, to require_autoregressive().
inline constexpr const char* kTokenStream = "a stream of tokens";

class EngineCore {
 public:
  // `model` outlives the core. Errors: no memory for the KV cache.
  static Result<std::unique_ptr<EngineCore>> create(Model& model);

  Result<RequestId> submit(Request request, EventSink sink);
  void cancel(RequestId request) { queue_.cancel(request); }
  void end_session(SessionId session) { queue_.end_session(session); }
  bool step();

  // See engine/engine.h.
  Result<std::string> session_key() const;
  Result<int64_t> save_session(SessionId session, ArtifactWriter& writer) const;
  Result<int64_t> load_session(SessionId session, const ArtifactReader& reader);

  EngineStats stats() const { return stats_; }
  uint64_t kv_bytes() const { return kv_->bytes(); }

 private:
  EngineCore(Model& model, std::unique_ptr<KvState> kv, const KvCacheOptions& options);

  void take_messages();
  void admit();
  bool open(ActiveRequest& entry);
  void add_active(RequestQueue::List::iterator entry);
  void run_step();
  int64_t plan_loop(std::span<const int64_t> rows);
  bool reads_whole_rows(std::span<const int64_t> rows) const;
  void commit(ActiveRequest& entry, int64_t rows);
  void preempt(RequestQueue::List::iterator entry);
  void finish_step(std::span<const int64_t> rows);
  void finish_loop(std::span<const int64_t> rows, int64_t steps);
  int64_t accept_all(ActiveRequest& entry, size_t row, size_t rows, int64_t steps);
  void fail_step(std::span<const int64_t> rows, const Error& error);
  void accept(ActiveRequest& entry, const LogitsView& view);
  void forget(ActiveRequest& entry);
  void fail(ActiveRequest& entry, const Error& error);
  void release(ActiveRequest& entry);
  void remove_over();

  template <typename F>
  void guarded(ActiveRequest& entry, F&& part);

  Model& model_;
  RequestQueue queue_;
  std::atomic<RequestId> next_id_ = 1;

  // The rest belongs to the owner of step().
  std::unique_ptr<KvState> kv_;
  KvCache cache_;
  bool keeps_cache_;                // from one token and one request to the next
  bool generated_is_reproducible_;  // rows of class `generated` have the bits of prompt rows
  Sessions sessions_;
  Scheduler scheduler_;
  PlanBuilder builder_;
  std::vector<RequestQueue::List::iterator> active_;  // requests that run, oldest first
  std::vector<Demand> demands_;                       // of them
  int64_t most_steps_;                                // of a loop; 1: tokens come one by one
  std::vector<int64_t> loop_steps_;                   // of each of `active_` in the next loop
  int64_t candidates_;                                // of a row of logits
  StepOutput output_;
  std::exception_ptr exception_;  // the first that a caller's function threw in this step
  EngineStats stats_;
};

}  // namespace dunlin

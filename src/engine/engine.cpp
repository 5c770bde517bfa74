#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "cache/kv_cache.h"
#include "engine/optimizations.h"
#include "engine/plan_builder.h"
#include "engine/request_queue.h"
#include "engine/scheduler.h"
#include "engine/sessions.h"

namespace dunlin {
namespace {

Result<void> check(const Request& request, const Model& model) {
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

// Every sequence can hold the whole context, unless kv_tokens makes the pool smaller. A windowed
// group needs its window and the rows of a step, touching one page more than they fill.
KvCacheOptions cache_options(const Model& model) {
  const StepLimits& limits = model.limits;
  const auto pages_for = [](int64_t positions) {
    return (positions + kPageTokens - 1) / kPageTokens;
  };
  KvCacheOptions options{.slots = static_cast<int32_t>(limits.sequences),
                         .context = limits.context,
                         .prefix_index = model.uses(kPrefixReuse)};
  options.generated_is_reproducible = model.options.precision != Precision::automatic;
  const int64_t growing = model.options.kv_tokens > 0
                              ? pages_for(model.options.kv_tokens)
                              : pages_for(limits.context) * limits.sequences;
  for (const KvGroup& group : model.program.kv_groups) {
    const int64_t windowed =
        std::min(pages_for(limits.context), pages_for(group.window + limits.rows) + 1);
    options.groups.push_back({.window = group.window,
                              .pages = group.window > 0 ? windowed * limits.sequences : growing});
  }
  return options;
}

}  // namespace

struct Engine::State {
  State(Model& loaded, std::unique_ptr<KvState> state, const KvCacheOptions& options);

  Model& model;
  std::unique_ptr<KvState> kv;
  KvCache cache;
  bool generated_is_reproducible;
  RequestQueue queue;
  std::atomic<RequestId> next_id = 1;

  // The rest belongs to the owner of step().
  Sessions sessions;
  Scheduler scheduler;
  PlanBuilder builder;
  std::vector<RequestQueue::List::iterator> active;  // requests that run, oldest first
  std::vector<Demand> demands;                       // of them
  StepOutput output;
  std::exception_ptr exception;  // the first that a sink threw in this step
  int64_t steps = 0;
  int64_t preemptions = 0;

  void take_messages();
  void admit();
  bool open(ActiveRequest& entry);
  void add_active(RequestQueue::List::iterator entry);
  void run_step();
  void preempt(RequestQueue::List::iterator entry);
  void finish_step(std::span<const int64_t> rows);
  void accept(ActiveRequest& entry, const LogitsView& view);
  void fail(ActiveRequest& entry, const Error& error);
  void release(ActiveRequest& entry);
  void remove_over();

  template <typename F>
  void guarded(ActiveRequest& entry, F&& part);
};

Engine::State::State(Model& loaded, std::unique_ptr<KvState> state, const KvCacheOptions& options)
    : model(loaded),
      kv(std::move(state)),
      cache(options),
      generated_is_reproducible(options.generated_is_reproducible),
      sessions(cache, options.slots),
      scheduler(loaded.limits, options.groups, cache, sessions),
      builder(loaded.program, loaded.limits) {
  const auto sequences = static_cast<size_t>(loaded.limits.sequences);
  active.reserve(sequences);
  demands.reserve(sequences);
  output.logits.reserve(static_cast<size_t>(loaded.limits.logit_rows));
}

// A request whose part of a step runs out of memory fails, and no other.
template <typename F>
void Engine::State::guarded(ActiveRequest& entry, F&& part) {
  try {
    part();
  } catch (const std::bad_alloc&) {
    fail(entry, out_of_memory());
  }
}

void Engine::State::take_messages() {
  for (ActiveRequest& entry : queue.running()) {
    if (entry.over()) release(entry);
  }
  remove_over();
  for (const SessionId session : queue.take_ended_sessions()) sessions.end(session);
}

void Engine::State::add_active(RequestQueue::List::iterator entry) {
  const AutoregressiveDecoder& decoder = entry->decoder;
  active.push_back(entry);
  demands.push_back({.slot = entry->slot,
                     .prefill = decoder.prefilling(),
                     .rows = std::ssize(decoder.pending()),
                     .tokens = std::ssize(decoder.tokens())});
}

// Starts requests in the order they came, as long as there are slots and pages.
void Engine::State::admit() {
  active.clear();
  demands.clear();
  auto& running = queue.running();
  for (auto entry = running.begin(); entry != running.end(); ++entry) add_active(entry);
  while (std::ssize(active) < model.limits.sequences) {
    ActiveRequest* entry = queue.next();
    if (entry == nullptr) return;
    bool starts = true;
    guarded(*entry, [&] { starts = open(*entry); });
    if (entry->over()) {
      release(*entry);
      remove_over();
    } else if (starts) {
      queue.start();
      add_active(std::prev(running.end()));
    } else {
      return;
    }
  }
}

// Gives the request a slot. False: it has to wait.
bool Engine::State::open(ActiveRequest& entry) {
  if (entry.decoder.finished()) {
    entry.finish();
    return true;
  }
  // A sequence that was preempted repeats the rows that it had: those of a session or of the prefix
  // index may have other bits where they are of another class.
  const bool again = entry.has_begun();
  const auto tokens = again && !generated_is_reproducible ? entry.decoder.leading_prompt_rows()
                                                          : entry.decoder.tokens();
  const auto opened = sessions.open(again ? 0 : entry.session.load(), tokens);
  if (!opened.ok()) {
    fail(entry, opened.error());
    return true;
  }
  entry.slot = opened->slot;
  if (!scheduler.may_begin(demands, entry.slot, std::ssize(entry.decoder.tokens()))) {
    release(entry);
    return false;
  }
  entry.decoder.resume(opened->cached);
  entry.begin(opened->cached);
  return true;
}

void Engine::State::run_step() {
  if (active.empty()) return;
  const auto rows = scheduler.schedule(demands, [this](size_t i) { preempt(active[i]); });
  builder.begin();
  for (size_t i = 0; i < active.size(); ++i) {
    if (rows[i] == 0) continue;
    const AutoregressiveDecoder& decoder = active[i]->decoder;
    const auto tokens = decoder.pending().first(static_cast<size_t>(rows[i]));
    builder.add(active[i]->slot, tokens, decoder.length(), decoder.row_class(),
                decoder.wants_logits_after(rows[i]) ? LogitRows::last : LogitRows::none);
  }
  model.executable->run(builder.finish(cache), *kv, output);
  ++steps;
  finish_step(rows);
}

void Engine::State::preempt(RequestQueue::List::iterator entry) {
  guarded(*entry, [&] { entry->decoder.restart(cache.row_classes(entry->slot)); });
  if (entry->slot < 0) return;  // it has failed
  cache.close(entry->slot);
  entry->slot = -1;
  queue.put_back(entry);
  ++preemptions;
}

void Engine::State::finish_step(std::span<const int64_t> rows) {
  size_t logit_row = 0;
  for (size_t i = 0; i < active.size(); ++i) {
    if (rows[i] == 0) continue;
    ActiveRequest& entry = *active[i];
    AutoregressiveDecoder& decoder = entry.decoder;
    const bool wanted = decoder.wants_logits_after(rows[i]);
    const auto tokens = decoder.pending().first(static_cast<size_t>(rows[i]));
    cache.commit(entry.slot, tokens, decoder.row_class());
    decoder.advance(rows[i]);
    if (wanted) accept(entry, output.logits[logit_row++]);
  }
}

void Engine::State::accept(ActiveRequest& entry, const LogitsView& view) {
  guarded(entry, [&] {
    if (entry.over()) return;
    const auto accepted = entry.accept(view);
    if (!accepted.ok()) {
      fail(entry, accepted.error());
    } else if (entry.decoder.finished() && !entry.over()) {
      entry.finish();
    }
  });
  if (entry.over()) release(entry);
}

void Engine::State::fail(ActiveRequest& entry, const Error& error) {
  release(entry);
  entry.fail(error);
}

// The sequence's cache stays for its session.
void Engine::State::release(ActiveRequest& entry) {
  if (entry.slot < 0) return;
  sessions.keep(entry.session, entry.slot);
  entry.slot = -1;
}

void Engine::State::remove_over() {
  if (const auto thrown = queue.remove_over(); thrown && !exception) exception = thrown;
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(Model& model) {
  try {
    const KvCacheOptions options = cache_options(model);
    std::vector<int64_t> pages;
    for (const KvCacheGroup& group : options.groups) pages.push_back(group.pages);
    DUNLIN_ASSIGN_OR_RETURN(auto kv, model.executable->make_kv_state(pages));
    auto state = std::make_unique<State>(model, std::move(kv), options);
    return std::unique_ptr<Engine>(new Engine(std::move(state)));
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

Result<RequestId> Engine::submit(Request request, EventSink sink) {
  try {
    const Model& model = state_->model;
    DUNLIN_RETURN_IF_ERROR(check(request, model));
    const RequestId id = state_->next_id++;
    auto params = decoder_params(request, model);
    RequestQueue::List entry;
    entry.emplace_back(id, std::move(request), std::move(params), model.text.tokenizer,
                       std::move(sink));
    state_->queue.push(std::move(entry));
    return id;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

void Engine::cancel(RequestId request) {
  state_->queue.cancel(request);
}

void Engine::end_session(SessionId session) {
  state_->queue.end_session(session);
}

bool Engine::step() {
  State& state = *state_;
  state.take_messages();
  state.admit();
  state.run_step();
  state.remove_over();
  if (state.exception) std::rethrow_exception(std::exchange(state.exception, nullptr));
  return !state.queue.empty();
}

uint64_t Engine::kv_bytes() const {
  return state_->kv->bytes();
}

int64_t Engine::steps() const {
  return state_->steps;
}

int64_t Engine::preemptions() const {
  return state_->preemptions;
}

}  // namespace dunlin

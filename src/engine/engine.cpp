#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>

#include "cache/kv_cache.h"
#include "engine/stop_matcher.h"
#include "tokenizer/stream_decoder.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// A request on its way from the queue to its last token.
struct Running {
  RequestId id;
  Request request;
  EventSink sink;
  int32_t slot = -1;
  std::optional<AutoregressiveDecoder> decoder;
  std::optional<StreamDecoder> text;
  StopMatcher stops;
  RequestStats stats;
  Clock::time_point started, last_token;
  std::optional<Clock::time_point> first_token;
};

// A sequence kept after an answer, for the session's next request.
struct IdleSession {
  SessionId id;
  int32_t slot;
};

// The rows one sequence takes part with in a step.
struct Share {
  Running* running;
  int64_t rows;
  bool wants_logits;
};

}  // namespace

struct Engine::State {
  explicit State(Model& m) : model(m) {}

  Model& model;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<KvState> kv;

  std::mutex mutex;  // guards the three below
  std::deque<Running> queue;
  std::vector<RequestId> cancelled;
  std::vector<SessionId> ended_sessions;
  RequestId next_id = 1;

  std::vector<std::unique_ptr<Running>> running;
  std::vector<IdleSession> idle_sessions;  // least recently used first
  StepPlan plan;
  StepOutput output;
  int64_t steps = 0;

  Result<void> check(const Request& request) const;
  void take_messages();
  void admit();
  std::optional<int32_t> take_idle_session(SessionId id);
  void end_session(SessionId id);
  std::optional<int64_t> resume_session(Running& entry);
  Result<int64_t> open_slot(Running& entry);
  std::vector<Share> share_rows();
  bool reserve(Running& entry, int64_t rows);
  void fill_plan(const std::vector<Share>& shares);
  void commit(const std::vector<Share>& shares);
  void accept(Running& entry, const LogitsView& view);
  void emit_token(Running& entry, int32_t token);
  void finish(Running& entry);
  void fail(Running& entry, const Error& error);
  void release(Running& entry);
  void drop_finished();
};

Result<void> Engine::State::check(const Request& request) const {
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

void Engine::State::take_messages() {
  std::vector<RequestId> cancels;
  std::vector<SessionId> sessions;
  {
    const std::lock_guard lock(mutex);
    cancels.swap(cancelled);
    sessions.swap(ended_sessions);
    for (const RequestId id : cancels)
      std::erase_if(queue, [id](const Running& entry) { return entry.id == id; });
  }
  for (const RequestId id : cancels) {
    const auto it =
        std::ranges::find_if(running, [id](const auto& entry) { return entry->id == id; });
    if (it == running.end()) continue;
    release(**it);
    running.erase(it);
  }
  for (const SessionId session : sessions) end_session(session);
}

// The session's slot, which is then the caller's to close.
std::optional<int32_t> Engine::State::take_idle_session(SessionId id) {
  const auto it = std::ranges::find(idle_sessions, id, &IdleSession::id);
  if (it == idle_sessions.end()) return std::nullopt;
  const int32_t slot = it->slot;
  idle_sessions.erase(it);
  return slot;
}

// Nothing is kept: neither what waits for the next request nor what a running one leaves behind.
void Engine::State::end_session(SessionId id) {
  if (const auto slot = take_idle_session(id)) cache->close(*slot);
  for (const auto& entry : running) {
    if (entry->request.session == id) entry->request.session = 0;
  }
}

// Continues the session's sequence; returns how many leading tokens of the prompt it holds. Nothing
// when there is no such sequence, or when it cannot go back to where the prompt differs because
// those positions have left a window.
std::optional<int64_t> Engine::State::resume_session(Running& entry) {
  const auto slot = take_idle_session(entry.request.session);
  if (!slot) return std::nullopt;
  const auto& prompt = entry.request.prompt;
  const auto held = cache->tokens(*slot);
  const auto limit = std::min(held.size(), prompt.size() - 1);
  size_t common = 0;
  while (common < limit && held[common] == prompt[common]) ++common;
  if (!cache->truncate(*slot, static_cast<int64_t>(common)).ok()) {
    cache->close(*slot);
    return std::nullopt;
  }
  entry.slot = *slot;
  return static_cast<int64_t>(common);
}

// Gives the request a slot; returns how many leading tokens of its prompt are in the cache.
Result<int64_t> Engine::State::open_slot(Running& entry) {
  if (const auto cached = resume_session(entry)) return *cached;
  const auto& prompt = entry.request.prompt;
  auto opened = cache->open(prompt);
  if (!opened.ok() && !idle_sessions.empty()) {
    // A session that nobody is using makes room; its next request computes its prompt again.
    cache->close(idle_sessions.front().slot);
    idle_sessions.erase(idle_sessions.begin());
    opened = cache->open(prompt);
  }
  if (!opened.ok()) return opened.error();
  entry.slot = opened->slot;
  return opened->cached;
}

void Engine::State::admit() {
  while (static_cast<int64_t>(running.size()) < model.limits.sequences) {
    std::unique_ptr<Running> entry;
    {
      const std::lock_guard lock(mutex);
      if (queue.empty()) return;
      entry = std::make_unique<Running>(std::move(queue.front()));
      queue.pop_front();
    }
    const auto cached = open_slot(*entry);
    if (!cached.ok()) {
      fail(*entry, cached.error());
      continue;
    }
    const Request& request = entry->request;
    AutoregressiveParams params{.sampling = request.sampling, .stop_ids = request.stop_ids};
    const int64_t room = model.limits.context - static_cast<int64_t>(request.prompt.size());
    params.max_tokens = request.max_tokens < 0 ? room : std::min(request.max_tokens, room);
    if (!request.ignore_eos) {
      params.stop_ids.insert(params.stop_ids.end(), model.stop_ids.begin(), model.stop_ids.end());
    }
    entry->decoder.emplace(request.prompt, *cached, std::move(params));
    if (model.text.tokenizer != nullptr)
      entry->text.emplace(model.text.tokenizer, /*skip_special=*/true);
    entry->stats.prompt_tokens = static_cast<int64_t>(request.prompt.size());
    entry->stats.cached_tokens = *cached;
    entry->started = entry->last_token = Clock::now();
    running.push_back(std::move(entry));
    if (running.back()->decoder->finished()) finish(*running.back());
  }
}

bool Engine::State::reserve(Running& entry, int64_t rows) {
  const auto reserved = cache->reserve(entry.slot, rows);
  if (!reserved.ok()) fail(entry, reserved.error());
  return reserved.ok();
}

// Decodes first, then prompts in order of arrival, in chunks that fill the step.
std::vector<Share> Engine::State::share_rows() {
  std::vector<Share> shares;
  int64_t left = model.limits.rows;
  for (const RowClass wanted : {RowClass::generated, RowClass::prompt}) {
    for (const auto& entry : running) {
      if (entry->decoder->finished() || entry->decoder->row_class() != wanted || left == 0)
        continue;
      const auto pending = static_cast<int64_t>(entry->decoder->pending().size());
      const int64_t rows = std::min(pending, left);
      if (!reserve(*entry, rows)) continue;
      shares.push_back({entry.get(), rows, rows == pending});
      left -= rows;
    }
  }
  return shares;
}

void Engine::State::fill_plan(const std::vector<Share>& shares) {
  plan.segments.clear();
  plan.tokens.clear();
  plan.positions.clear();
  plan.logit_rows.clear();
  std::vector<int32_t> slots;
  for (const Share& share : shares) {
    const AutoregressiveDecoder& decoder = *share.running->decoder;
    const auto rows = static_cast<int32_t>(share.rows);
    const RowClass row_class = decoder.row_class();
    if (!plan.segments.empty() && plan.segments.back().rows_each == rows &&
        plan.segments.back().row_class == row_class) {
      ++plan.segments.back().sequences;
    } else {
      plan.segments.push_back({1, rows, row_class});
    }
    const auto tokens = decoder.pending().first(static_cast<size_t>(share.rows));
    plan.tokens.insert(plan.tokens.end(), tokens.begin(), tokens.end());
    for (int64_t i = 0; i < share.rows; ++i)
      plan.positions.push_back(static_cast<int32_t>(decoder.length() + i));
    if (share.wants_logits) plan.logit_rows.push_back(static_cast<int32_t>(plan.tokens.size()) - 1);
    slots.push_back(share.running->slot);
  }
  plan.tables.resize(model.program.kv_groups.size());
  for (size_t group = 0; group < plan.tables.size(); ++group) {
    cache->table(slots, static_cast<int32_t>(group), plan.tables[group]);
  }
  plan.moves = cache->take_moves();
}

void Engine::State::commit(const std::vector<Share>& shares) {
  size_t logit_row = 0;
  for (const Share& share : shares) {
    AutoregressiveDecoder& decoder = *share.running->decoder;
    const RowClass row_class = decoder.row_class();
    cache->commit(share.running->slot, decoder.pending().first(static_cast<size_t>(share.rows)),
                  row_class);
    decoder.advance(share.rows);
    if (share.wants_logits) accept(*share.running, output.logits[logit_row++]);
  }
}

void Engine::State::accept(Running& entry, const LogitsView& view) {
  const auto token = entry.decoder->accept(view);
  if (!token.ok()) {
    fail(entry, token.error());
    return;
  }
  entry.last_token = Clock::now();
  if (!entry.first_token) {
    entry.first_token = entry.last_token;
    entry.stats.prompt_ms = milliseconds(entry.last_token - entry.started);
  }
  if (entry.decoder->finished() != FinishReason::stop) emit_token(entry, *token);
  if (entry.decoder->finished()) finish(entry);
}

void Engine::State::emit_token(Running& entry, int32_t token) {
  Event event{.kind = Event::Kind::token, .request = entry.id, .token = token};
  if (entry.text.has_value()) {
    auto output = entry.stops.feed(entry.text->feed(token));
    event.text = std::move(output.text);
    if (output.stopped) entry.decoder->finish(FinishReason::stop);
  }
  entry.sink(event);
}

void Engine::State::finish(Running& entry) {
  entry.stats.predicted_tokens = static_cast<int64_t>(entry.decoder->answer().size());
  entry.stats.predicted_ms =
      milliseconds(entry.last_token - entry.first_token.value_or(entry.last_token));
  Event event{
      .kind = Event::Kind::finished, .request = entry.id, .reason = *entry.decoder->finished()};
  if (entry.text.has_value()) {
    event.text = entry.stops.feed(entry.text->flush()).text;
    event.text += entry.stops.flush();
  }
  event.stats = entry.stats;
  release(entry);
  entry.sink(event);
}

void Engine::State::fail(Running& entry, const Error& error) {
  release(entry);
  if (entry.decoder.has_value()) entry.decoder->finish(FinishReason::length);
  entry.sink({.kind = Event::Kind::failed, .request = entry.id, .error = error});
}

void Engine::State::release(Running& entry) {
  if (entry.slot < 0) return;
  const SessionId session = entry.request.session;
  const bool kept =
      std::ranges::find(idle_sessions, session, &IdleSession::id) != idle_sessions.end();
  if (session != 0 && !kept) {
    idle_sessions.push_back({session, entry.slot});
  } else {
    cache->close(entry.slot);
  }
  entry.slot = -1;
}

void Engine::State::drop_finished() {
  std::erase_if(running, [](const auto& entry) { return entry->slot < 0; });
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(Model& model) {
  auto state = std::make_unique<State>(model);
  const StepLimits& limits = model.limits;
  KvCacheOptions options{.slots = static_cast<int32_t>(limits.sequences),
                         .context = limits.context};
  options.generated_is_reproducible = model.options.precision != Precision::automatic;
  std::vector<int64_t> pages;
  for (const KvGroup& group : model.program.kv_groups) {
    pages.push_back(kv_pages(group, limits) * limits.sequences);
    options.groups.push_back({.window = group.window, .pages = pages.back()});
  }
  DUNLIN_ASSIGN_OR_RETURN(state->kv, model.executable->make_kv_state(pages));
  state->cache = std::make_unique<KvCache>(std::move(options));
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Result<RequestId> Engine::submit(Request request, EventSink sink) {
  DUNLIN_RETURN_IF_ERROR(state_->check(request));
  StopMatcher stops(request.stop);
  const std::lock_guard lock(state_->mutex);
  const RequestId id = state_->next_id++;
  state_->queue.push_back({.id = id,
                           .request = std::move(request),
                           .sink = std::move(sink),
                           .decoder = std::nullopt,
                           .text = std::nullopt,
                           .stops = std::move(stops),
                           .stats = {},
                           .started = {},
                           .last_token = {},
                           .first_token = std::nullopt});
  return id;
}

void Engine::cancel(RequestId request) {
  const std::lock_guard lock(state_->mutex);
  state_->cancelled.push_back(request);
}

void Engine::end_session(SessionId session) {
  const std::lock_guard lock(state_->mutex);
  state_->ended_sessions.push_back(session);
  for (Running& entry : state_->queue) {
    if (entry.request.session == session) entry.request.session = 0;
  }
}

bool Engine::step() {
  state_->take_messages();
  state_->admit();
  state_->drop_finished();
  const auto shares = state_->share_rows();
  if (!shares.empty()) {
    state_->fill_plan(shares);
    state_->model.executable->run(state_->plan, *state_->kv, state_->output);
    ++state_->steps;
    state_->commit(shares);
  }
  state_->drop_finished();
  const std::lock_guard lock(state_->mutex);
  return !state_->running.empty() || !state_->queue.empty();
}

uint64_t Engine::kv_bytes() const {
  return state_->kv->bytes();
}

int64_t Engine::steps() const {
  return state_->steps;
}

}  // namespace dunlin

#include "engine/engine_core.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "base/check.h"
#include "engine/kv_options.h"
#include "engine/optimizations.h"
#include "engine/request_validation.h"
#include "engine/session_file.h"

namespace dunlin {
namespace {

// That a row of the Program's logits comes with.
int64_t candidates_of(const Program& program) {
  const Output* const ids = program.find_output(kCandidateIdsOutput);
  return ids == nullptr ? 0 : program.type(ids->value).dims.back().size;
}

}  // namespace

Result<std::unique_ptr<EngineCore>> EngineCore::create(Model& model) {
  DUNLIN_RETURN_IF_ERROR(require_autoregressive(model, kTokenStream));
  const KvCacheOptions options = kv_cache_options(model, model.limits.sequences);
  DUNLIN_ASSIGN_OR_RETURN(auto kv, model.executable->make_kv_state(pages_of_groups(options)));
  return std::unique_ptr<EngineCore>(new EngineCore(model, std::move(kv), options));
}

EngineCore::EngineCore(Model& model, std::unique_ptr<KvState> kv, const KvCacheOptions& options)
    : model_(model),
      kv_(std::move(kv)),
      cache_(options),
      keeps_cache_(model.uses(kKvCache)),
      generated_is_reproducible_(options.generated_is_reproducible),
      sessions_(cache_, options.slots),
      scheduler_(model.limits, options.groups, cache_, sessions_),
      builder_(model.program, model.limits),
      most_steps_(keeps_cache_ ? model.executable->most_steps() : 1),
      candidates_(candidates_of(model.program)) {
  const auto sequences = static_cast<size_t>(model.limits.sequences);
  active_.reserve(sequences);
  demands_.reserve(sequences);
  loop_steps_.reserve(sequences);
  output_.logits.reserve(static_cast<size_t>(model.limits.logit_rows * most_steps_));
}

// A request whose part of a step runs out of memory fails, and no other.
template <typename F>
void EngineCore::guarded(ActiveRequest& entry, F&& part) {
  try {
    part();
  } catch (const std::bad_alloc&) {
    fail(entry, out_of_memory());
  }
}

void EngineCore::take_messages() {
  for (ActiveRequest& entry : queue_.running()) {
    if (entry.over()) release(entry);
  }
  remove_over();
  for (const SessionId session : queue_.take_ended_sessions()) sessions_.end(session);
}

void EngineCore::add_active(RequestQueue::List::iterator entry) {
  const AutoregressiveDecoder& decoder = entry->decoder;
  active_.push_back(entry);
  demands_.push_back({.slot = entry->slot,
                      .prefill = decoder.prefilling(),
                      .rows = std::ssize(decoder.pending()),
                      .tokens = std::ssize(decoder.tokens())});
}

// Starts requests in the order they came, as long as there are slots and pages.
void EngineCore::admit() {
  active_.clear();
  demands_.clear();
  auto& running = queue_.running();
  for (auto entry = running.begin(); entry != running.end(); ++entry) add_active(entry);
  while (std::ssize(active_) < model_.limits.sequences) {
    ActiveRequest* entry = queue_.next();
    if (entry == nullptr) return;
    bool starts = true;
    guarded(*entry, [&] { starts = open(*entry); });
    if (entry->over()) {
      release(*entry);
      remove_over();
    } else if (starts) {
      queue_.start();
      add_active(std::prev(running.end()));
    } else {
      return;
    }
  }
}

// Gives the request a slot. False: it has to wait.
bool EngineCore::open(ActiveRequest& entry) {
  if (entry.decoder.finished()) {
    entry.finish();
    return true;
  }
  // A sequence that was preempted repeats the rows that it had: those of a session or of the prefix
  // index may have other bits where they are of another class.
  const bool again = entry.has_begun();
  const auto tokens = again && !generated_is_reproducible_ ? entry.decoder.leading_prompt_rows()
                                                           : entry.decoder.tokens();
  const auto opened = sessions_.open(again ? 0 : entry.session.load(), tokens);
  if (!opened.ok()) {
    fail(entry, opened.error());
    return true;
  }
  entry.slot = opened->slot;
  if (!scheduler_.may_begin(demands_, entry.slot, std::ssize(entry.decoder.tokens()))) {
    if (again) entry.session = 0;
    release(entry);
    return false;
  }
  entry.decoder.resume(opened->cached);
  entry.begin(opened->cached);
  return true;
}

void EngineCore::run_step() {
  if (active_.empty()) return;
  const auto rows = scheduler_.schedule(demands_, [this](size_t i) { preempt(active_[i]); });
  const int64_t steps = plan_loop(rows);
  builder_.begin();
  for (size_t i = 0; i < active_.size(); ++i) {
    if (rows[i] == 0) continue;
    const AutoregressiveDecoder& decoder = active_[i]->decoder;
    const auto tokens = decoder.pending().first(static_cast<size_t>(rows[i]));
    builder_.add(active_[i]->slot, tokens, decoder.length(), decoder.row_class(),
                 decoder.wants_logits_after(rows[i]) ? LogitRows::last : LogitRows::none);
    if (steps > 1) builder_.repeat(loop_steps_[i], decoder.stop_ids());
  }
  if (!reads_whole_rows(rows)) builder_.leave_out_whole_rows();
  model_.executable->run(builder_.finish(cache_), *kv_, output_);
  if (output_.failure) {
    ++stats_.steps;
    fail_step(rows, *output_.failure);
  } else if (steps > 1) {
    finish_loop(rows, steps);
  } else {
    ++stats_.steps;
    finish_step(rows);
  }
}

// How many steps the next call takes, of which each sequence takes loop_steps_. More than one where
// the device can choose every token by itself and the pages for them are there.
int64_t EngineCore::plan_loop(std::span<const int64_t> rows) {
  if (most_steps_ == 1) return 1;
  loop_steps_.assign(active_.size(), 0);
  int64_t steps = 1;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (rows[i] == 0) continue;
    const AutoregressiveDecoder& decoder = active_[i]->decoder;
    if (decoder.prefilling() || !decoder.takes_best()) return 1;
    loop_steps_[i] = std::min(most_steps_, decoder.tokens_left());
    steps = std::max(steps, loop_steps_[i]);
  }
  return steps > 1 && scheduler_.reserve_ahead(demands_, loop_steps_) ? steps : 1;
}

// Whether a token of the step is drawn from more than the candidates of its row. A row of 128,256 logits
// is half a megabyte, which a device would send for every token.
bool EngineCore::reads_whole_rows(std::span<const int64_t> rows) const {
  for (size_t i = 0; i < active_.size(); ++i) {
    const AutoregressiveDecoder& decoder = active_[i]->decoder;
    if (rows[i] > 0 && decoder.wants_logits_after(rows[i]) && decoder.needs_whole_row(candidates_))
      return true;
  }
  return false;
}

// The device failed: the requests that were in the step do, and no other.
void EngineCore::fail_step(std::span<const int64_t> rows, const Error& error) {
  for (size_t i = 0; i < active_.size(); ++i) {
    if (rows[i] > 0) fail(*active_[i], error);
  }
}

void EngineCore::preempt(RequestQueue::List::iterator entry) {
  guarded(*entry, [&] { entry->decoder.restart(cache_.row_classes(entry->slot)); });
  if (entry->slot < 0) return;  // it has failed
  cache_.close(entry->slot);
  entry->slot = -1;
  queue_.put_back(entry);
  ++stats_.preemptions;
}

// The step computed the next rows of the sequence.
void EngineCore::commit(ActiveRequest& entry, int64_t rows) {
  AutoregressiveDecoder& decoder = entry.decoder;
  const auto tokens = decoder.pending().first(static_cast<size_t>(rows));
  cache_.commit(entry.slot, tokens, decoder.row_class());
  decoder.advance(rows);
}

void EngineCore::finish_step(std::span<const int64_t> rows) {
  size_t logit_row = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (rows[i] == 0) continue;
    ActiveRequest& entry = *active_[i];
    const bool wanted = entry.decoder.wants_logits_after(rows[i]);
    commit(entry, rows[i]);
    if (wanted) accept(entry, output_.logits[logit_row++]);
  }
}

void EngineCore::finish_loop(std::span<const int64_t> rows, int64_t steps) {
  const size_t count = output_.logits.size() / static_cast<size_t>(steps);
  int64_t taken = 1;
  size_t row = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (rows[i] == 0) continue;
    taken = std::max(taken, accept_all(*active_[i], row, count, steps));
    ++row;
  }
  stats_.steps += taken;
}

// The tokens that row `row` of `rows` chose in a loop, until its answer is at its end: what the device
// computed behind a stop string, or for nobody, is not committed, and is written over. Returns the
// number of its steps.
int64_t EngineCore::accept_all(ActiveRequest& entry, size_t row, size_t rows, int64_t steps) {
  int64_t step = 0;
  for (; step < steps && entry.slot >= 0; ++step) {
    const LogitsView& view = output_.logits[static_cast<size_t>(step) * rows + row];
    if (view.finite && view.ids.empty()) break;  // it took no part in this step
    commit(entry, 1);
    accept(entry, view);
  }
  return step;
}

void EngineCore::accept(ActiveRequest& entry, const LogitsView& view) {
  guarded(entry, [&] {
    if (entry.over()) return;
    const auto accepted = entry.accept(view);
    if (!accepted.ok()) {
      fail(entry, accepted.error());
    } else if (entry.decoder.finished() && !entry.over()) {
      entry.finish();
    }
  });
  if (entry.over()) {
    release(entry);
  } else if (!keeps_cache_) {
    forget(entry);
  }
}

// The next token computes the whole sequence again: the prompt as a prompt, the answer in the
// arithmetic of generated rows, so that its bits are those of a cache.
void EngineCore::forget(ActiveRequest& entry) {
  guarded(entry, [&] { entry.decoder.restart(cache_.row_classes(entry.slot)); });
  if (entry.slot < 0) return;  // it has failed
  const auto forgotten = cache_.truncate(entry.slot, 0);
  DUNLIN_CHECK(forgotten.ok(), "a sequence can be cut to nothing");
}

void EngineCore::fail(ActiveRequest& entry, const Error& error) {
  release(entry);
  entry.fail(error);
}

// The sequence's cache stays for its session.
void EngineCore::release(ActiveRequest& entry) {
  if (entry.slot < 0) return;
  if (most_steps_ > 1) {
    // Pages that were reserved for steps of a loop that it did not take.
    const auto cut = cache_.truncate(entry.slot, cache_.length(entry.slot));
    DUNLIN_CHECK(cut.ok(), "a sequence can be cut to what it has");
  }
  sessions_.keep(keeps_cache_ ? entry.session.load() : SessionId{0}, entry.slot);
  entry.slot = -1;
}

void EngineCore::remove_over() {
  if (const auto thrown = queue_.remove_over(); thrown && !exception_) exception_ = thrown;
}

Result<RequestId> EngineCore::submit(Request request, EventSink sink) {
  DUNLIN_RETURN_IF_ERROR(validate(request, model_));
  const RequestId id = next_id_++;
  auto params = decoder_params(request, model_);
  RequestQueue::List entry;
  entry.emplace_back(id, std::move(request), std::move(params), model_.text, std::move(sink));
  queue_.push(std::move(entry));
  return id;
}

bool EngineCore::step() {
  take_messages();
  admit();
  run_step();
  remove_over();
  if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  return !queue_.empty();
}

Result<std::string> EngineCore::session_key() const {
  return sequence_key(model_, *kv_);
}

Result<int64_t> EngineCore::save_session(SessionId session, ArtifactWriter& writer) const {
  const auto slot = sessions_.slot_of(session);
  return slot ? write_sequence(writer, cache_, *slot, *kv_) : 0;
}

Result<int64_t> EngineCore::load_session(SessionId session, const ArtifactReader& reader) {
  DUNLIN_RETURN_IF_ERROR(check_sequence(reader, *kv_));
  sessions_.end(session);
  if (!keeps_cache_) return 0;
  auto slot = read_sequence(reader, cache_, *kv_);
  // Not for a sequence that is longer than the context.
  while (!slot.ok() && slot.error().kind != ErrorKind::usage && sessions_.close_oldest())
    slot = read_sequence(reader, cache_, *kv_);
  if (!slot.ok()) return slot.error();
  sessions_.keep(session, *slot);
  return cache_.length(*slot);
}

}  // namespace dunlin

// Loops of decode steps: one `while` whose body is the step. The tokens that rows choose are their next
// tokens, without the host; keys and values are carried, and written where they lie.
//
// Carried: the number of the step and of the step to end at, of each row its token, its position and
// whether it goes on, the ids that were chosen, and the KV arrays. T rows, one of each sequence.
#include <cstddef>

#include "backend/pjrt/lower/context.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

enum Carried : size_t { kNumber, kEnd, kToken, kPosition, kActive, kChosen, kState };

// What the step before decided for each row.
struct Decision {
  Var ids;      // i32 [T]: the best candidates
  Var usable;   // i1 [T]: the logits are numbers
  Var stopped;  // i1 [T]: the id is one of the row's stop ids
};

class DecodeLoop {
 public:
  explicit DecodeLoop(LoweringContext& context)
      : b_(context.b),
        context_(context),
        inputs_(context.loop_inputs()),
        sequences_(context.value_of(InputKind::row_sequences)),
        counts_(context.row_counts()),
        ids_(output_number(kCandidateIdsOutput)),
        statistics_(output_number(kStatisticsOutput)) {}

  Var run() {
    const Var active = b_.compare("GT", inputs_.row_steps, zeros(inputs_.row_steps));
    const TensorType chosen{Element::i32, {context_.bucket.steps, context_.bucket.rows()}};
    Vars carried = {b_.scalar(0),
                    inputs_.steps,
                    context_.value_of(InputKind::tokens),
                    context_.value_of(InputKind::positions),
                    active,
                    b_.constant(chosen, static_cast<double>(kNoStep))};
    append_state(carried);
    const Vars results = b_.while_loop(
        carried, [this](const Vars& v) { return b_.compare("LT", v[kNumber], v[kEnd]); },
        [this](const Vars& v) { return step(v); });
    take_state(results);
    return results[kChosen];
  }

 private:
  size_t output_number(const char* name) const {
    const Output* const output = context_.program.find_output(name);
    DUNLIN_CHECK(output != nullptr, "a loop of a program without candidates");
    return static_cast<size_t>(output - context_.program.outputs.data());
  }

  Var zeros(const Var& x) { return b_.filled_like(x, 0.0); }

  void append_state(Vars& carried) const {
    const Vars state = context_.state_results();
    carried.insert(carried.end(), state.begin(), state.end());
  }

  void take_state(const Vars& v) {
    context_.set_state({v.begin() + static_cast<std::ptrdiff_t>(kState), v.end()});
  }

  LoopRows rows_of(const Vars& v) {
    const Var& active = v[kActive];
    const Var none = zeros(v[kPosition]);
    const Var length = b_.plus(v[kPosition], 1.0);
    return {.tokens = v[kToken],
            .positions = v[kPosition],
            .sequences = b_.select(active, sequences_, b_.filled_like(sequences_, -1.0)),
            .counts = b_.select(active, counts_, none),
            .lengths = b_.select(active, length, none)};
  }

  Vars step(const Vars& v) {
    context_.set_rows(rows_of(v));
    take_state(v);
    const Var step_number = context_.tie_packed_weights(v[kNumber]);
    lower_nodes(context_);
    b_.set_location("loop");
    const Decision decision = decide();
    const Var next = b_.plus(step_number, 1.0);
    const Var number = b_.broadcast(next, inputs_.row_steps.type.dims, {});
    const Var within = b_.compare("LT", number, inputs_.row_steps);
    const Var unstopped = b_.unary("not", decision.stopped);
    const Var may_go_on = b_.both(within, unstopped);
    const Var went_well = b_.both(v[kActive], decision.usable);
    const Var goes_on = b_.both(went_well, may_go_on);
    const Var position = b_.plus(v[kPosition], 1.0);
    Vars carried = {next,
                    end_of(v[kEnd], goes_on),
                    b_.select(goes_on, decision.ids, v[kToken]),
                    b_.select(goes_on, position, v[kPosition]),
                    goes_on,
                    with_chosen(v, decision)};
    append_state(carried);
    return carried;
  }

  // Of equal logits the candidates have the lowest id first, as the sampler takes it.
  Decision decide() {
    const Var candidates = context_.output(ids_);         // i32 [T,k]
    const Var statistics = context_.output(statistics_);  // f32 [T,5]; the last: usable
    const Shape rows{candidates.dim(0)};
    const Var usable = b_.reshape(b_.slice(statistics, 1, 4, 5), rows);
    Decision decision;
    decision.ids = b_.reshape(b_.slice(candidates, 1, 0, 1), rows);
    decision.usable = b_.compare("NE", usable, zeros(usable));
    const Var repeated = b_.broadcast(decision.ids, inputs_.stop_ids.type.dims, {0});
    const Var same = b_.compare("EQ", inputs_.stop_ids, repeated);
    const Var hits = b_.reduce(Reduction::max, b_.convert(same, Element::i32), 1);
    decision.stopped = b_.compare("GT", hits, zeros(hits));
    return decision;
  }

  // When no row goes on, the loop is at its end. Not on a mesh, where other parts of the batch may go
  // on: all devices come to the same exchanges equally often.
  Var end_of(const Var& end, const Var& goes_on) {
    if (context_.options.sharding != nullptr) return end;
    const Var any = b_.reduce(Reduction::max, b_.convert(goes_on, Element::i32), 0);
    return b_.multiply(end, any);
  }

  // The line of this step.
  Var with_chosen(const Vars& v, const Decision& decision) {
    const Var usable = b_.select(decision.usable, decision.ids,
                                 b_.filled_like(decision.ids, static_cast<double>(kNotFinite)));
    const Var line =
        b_.select(v[kActive], usable, b_.filled_like(usable, static_cast<double>(kNoStep)));
    const Var zero = b_.scalar(0);
    return b_.dynamic_update_slice(v[kChosen], b_.reshape(line, {1, line.dim(0)}),
                                   {v[kNumber], zero});
  }

  Builder& b_;
  LoweringContext& context_;
  LoopInputs inputs_;
  Var sequences_, counts_;   // of the step array
  size_t ids_, statistics_;  // numbers of outputs
};

}  // namespace

Var lower_loop(LoweringContext& context) {
  context.b.set_location("loop");
  return DecodeLoop(context).run();
}

}  // namespace dunlin::pjrt

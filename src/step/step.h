// What one step of a model takes and gives: plain data, the same for every back end.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/view.h"

namespace dunlin {

// Decides the arithmetic of a row (docs/decisions/0002-numerics.md).
enum class RowClass : uint8_t { prompt, generated };

// `sequences` consecutive sequences with `rows_each` rows each. Rows are flat, in the order of the
// segments; decodes come first.
struct Segment {
  int32_t sequences = 0;
  int32_t rows_each = 0;
  RowClass row_class = RowClass::prompt;
};

inline constexpr int32_t kPageTokens = 16;

// The KV pages of each sequence of a step in one KV group: page number p of sequence s holds
// positions [16 p, 16 p + 16) and is physical page pages[first[s] + p], or -1 where it was freed or
// evicted.
struct KvTable {
  std::vector<int32_t> first = {};  // [S + 1]
  std::vector<int32_t> pages = {};

  std::span<const int32_t> of(int64_t sequence) const {
    const auto index = static_cast<size_t>(sequence);
    return std::span(pages).subspan(static_cast<size_t>(first[index]),
                                    static_cast<size_t>(first[index + 1] - first[index]));
  }
};

// A copy of one physical page over another, before the step's first write.
struct PageMove {
  int32_t group = 0;
  int32_t from = 0;
  int32_t to = 0;
};

// Stop ids of a row that a loop looks for.
inline constexpr int32_t kStopIdsOfRow = 8;

struct StepPlan {
  std::vector<Segment> segments = {};
  std::vector<int32_t> tokens = {};      // [T]
  std::vector<int32_t> positions = {};   // [T], ascending within a sequence's rows
  std::vector<int32_t> logit_rows = {};  // [R], row numbers
  std::vector<KvTable> tables = {};      // one per KV group
  std::vector<PageMove> moves = {};
  // Positions each sequence holds in the cache once the step's rows are written: what full
  // attention sees. Empty: up to the sequence's last row.
  std::vector<int32_t> lengths = {};     // [S]
  std::vector<float> temperatures = {};  // [R], for logits_view and sample; empty: 1
  std::vector<float> random = {};        // [R], uniform in [0, 1), for sample; empty: 0
  // More than 1: a loop, which repeats the step so often. The token of a row is then the best
  // candidate of the row's logits in the repetition before (of equals the lowest id), at the next
  // position. Every sequence has one row, whose logits are wanted, in the order of the rows, and the
  // tables have pages for all positions. At most Executable::most_steps().
  int32_t steps = 1;
  // Of a loop: how many repetitions each row takes part in, 1 to `steps`, the first ones. Empty: all.
  std::vector<int32_t> row_steps = {};  // [T]
  // Of a loop: a row whose best candidate is one of its ids takes part in no more; -1 where it has
  // fewer. Empty: none has any.
  std::vector<int32_t> stop_ids = {};  // [T, kStopIdsOfRow]
  // Whether someone reads whole rows of logits (LogitsView::row). False where statistics and candidates
  // do: a device then keeps the rows to itself.
  bool whole_rows = true;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  int64_t sequences() const {
    int64_t count = 0;
    for (const Segment& segment : segments) count += segment.sequences;
    return count;
  }
};

// A row of logits as the sampler reads it: statistics and the best candidates; `row` is the whole
// row [V], which may be empty where StepPlan::whole_rows is false.
struct LogitsView {
  float lse = 0;         // log-sum-exp of the row
  float entropy = 0;     // nats
  float varentropy = 0;  // nats squared
  bool finite = true;    // false: a NaN, a +infinity or nothing above -infinity: not to be sampled
  std::span<const int32_t> ids = {};   // candidates by descending logit, ties by lowest id
  std::span<const float> logits = {};  // of the candidates
  std::span<const float> row = {};
};

struct TapView {
  std::string name = {};
  View view;
};

// Valid until the next step of the same executable.
struct StepOutput {
  // [R]; of a loop [steps, R], which have the best id and `finite` alone. Finite without an id: the
  // row took no part in the step.
  std::vector<LogitsView> logits = {};
  std::vector<TapView> taps = {};     // in the Program's order of outputs
  std::optional<Error> failure = {};  // of the device: the rest means nothing then
};

}  // namespace dunlin

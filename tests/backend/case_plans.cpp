// StepPlans of a case: positions, tokens that depend on (sequence, position) only, and page tables
// over a pool whose order is shuffled.
#include <algorithm>
#include <map>
#include <numeric>

#include "base/check.h"
#include "case_random.h"
#include "case_runner.h"
#include "program/definitions.h"

namespace dunlin {
namespace {

int32_t rows_end(const CaseSegment& segment, int32_t length) {
  return (segment.start < 0 ? length : segment.start) + segment.rows_each;
}

// Pages of one KV group: which physical page each sequence has for each 16 positions.
class CasePages {
 public:
  CasePages(int64_t window, int64_t count, uint64_t placement)
      : window_(window), free_(static_cast<size_t>(count)) {
    std::iota(free_.begin(), free_.end(), 0);
    CaseRandom random(placement);
    for (size_t i = free_.size(); i > 1; --i) {
      std::swap(free_[i - 1], free_[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
    }
  }

  // Sequence s has pages [s * per_slot, (s + 1) * per_slot), used in a ring.
  static CasePages in_slots(int64_t window, int64_t per_slot) {
    CasePages pages(window, 0, 0);
    pages.per_slot_ = static_cast<int32_t>(per_slot);
    return pages;
  }

  // The pages of a sequence whose next rows are [first, end); those behind the window are freed.
  const std::vector<int32_t>& reserve(int32_t sequence, int32_t first, int32_t end) {
    std::vector<int32_t>& pages = pages_[sequence];
    for (size_t p = 0; window_ > 0 && p < pages.size(); ++p) {
      const int64_t last_position = static_cast<int64_t>(p) * kPageTokens + kPageTokens - 1;
      if (pages[p] < 0 || last_position > first - window_) continue;
      free_.push_back(pages[p]);
      pages[p] = -1;
    }
    while (static_cast<int64_t>(pages.size()) * kPageTokens < end) {
      if (per_slot_ > 0) {
        const auto page = static_cast<int32_t>(pages.size());
        pages.push_back(sequence * per_slot_ + page % per_slot_);
        continue;
      }
      pages.push_back(free_.front());
      free_.erase(free_.begin());
    }
    return pages;
  }

 private:
  int64_t window_;
  int32_t per_slot_ = 0;
  std::vector<int32_t> free_;
  std::map<int32_t, std::vector<int32_t>> pages_;
};

class CasePlanner {
 public:
  CasePlanner(const OperationCase& operation_case, const Program& program,
              const CaseVariation& variation)
      : operation_case_(operation_case) {
    const int64_t count = pages_needed();
    const StepLimits limits = least_limits();
    for (const KvGroup& group : program.kv_groups) {
      if (!variation.slots) {
        pages_.emplace_back(group.window, count, variation.page_placement);
        page_counts_.push_back(count);
        continue;
      }
      // What the engine gives a sequence (engine/engine.cpp).
      int64_t each = whole_pages(limits.context);
      if (group.window > 0) each = std::min(each, whole_pages(group.window + limits.rows) + 1);
      pages_.push_back(CasePages::in_slots(group.window, each));
      page_counts_.push_back(each * limits.sequences);
    }
  }

  const std::vector<int64_t>& page_counts() const { return page_counts_; }

  // The smallest limits that the case is within.
  StepLimits least_limits() const {
    StepLimits limits{.rows = 1, .logit_rows = 1, .sequences = 1, .context = 1};
    std::map<int32_t, int32_t> lengths;
    for (const CaseStep& step : operation_case_.steps) {
      int64_t rows = 0;
      for (const CaseSegment& segment : step.segments) {
        rows += segment.rows_each * std::ssize(segment.sequences);
        for (const int32_t sequence : segment.sequences) {
          int32_t& length = lengths[sequence];
          length = std::max(length, rows_end(segment, length));
          limits.context = std::max<int64_t>(limits.context, length);
          limits.sequences = std::max<int64_t>(limits.sequences, sequence + 1);
        }
      }
      limits.rows = std::max(limits.rows, rows);
    }
    return limits;
  }

  StepPlan plan(const CaseStep& step) {
    StepPlan plan;
    plan.tables.resize(pages_.size());
    for (KvTable& table : plan.tables) table.first.push_back(0);
    bool partial = false;
    for (const CaseSegment& segment : step.segments) {
      plan.segments.push_back(
          {static_cast<int32_t>(segment.sequences.size()), segment.rows_each, segment.row_class});
      for (const int32_t sequence : segment.sequences) {
        partial = add_sequence(segment, sequence, plan) || partial;
        add_logit_rows(step, segment, plan);
      }
    }
    if (!partial) plan.lengths.clear();
    return plan;
  }

 private:
  static int64_t whole_pages(int64_t positions) {
    return (positions + kPageTokens - 1) / kPageTokens;
  }

  // Every page that the whole case can need at once, and a few that stay unused.
  int64_t pages_needed() const {
    std::map<int32_t, int32_t> lengths;
    for (const CaseStep& step : operation_case_.steps) {
      for (const CaseSegment& segment : step.segments) {
        for (const int32_t sequence : segment.sequences) {
          int32_t& length = lengths[sequence];
          length = std::max(length, rows_end(segment, length));
        }
      }
    }
    int64_t pages = 3;
    for (const auto& [sequence, length] : lengths)
      pages += (length + kPageTokens - 1) / kPageTokens;
    return pages;
  }

  // Returns whether the sequence holds more than its rows of this step reach.
  bool add_sequence(const CaseSegment& segment, int32_t sequence, StepPlan& plan) {
    int32_t& length = lengths_[sequence];
    const int32_t end = rows_end(segment, length);
    const int32_t first = end - segment.rows_each;
    for (int32_t position = first; position < end; ++position) {
      CaseRandom random(static_cast<uint64_t>(sequence + 1) * 100003u +
                        static_cast<uint64_t>(position));
      plan.tokens.push_back(static_cast<int32_t>(random.below(kCaseVocabulary)));
      plan.positions.push_back(position);
    }
    for (size_t group = 0; group < pages_.size(); ++group) {
      const std::vector<int32_t>& pages = pages_[group].reserve(sequence, first, end);
      KvTable& table = plan.tables[group];
      table.pages.insert(table.pages.end(), pages.begin(), pages.end());
      table.first.push_back(static_cast<int32_t>(table.pages.size()));
    }
    length = std::max(length, end);
    plan.lengths.push_back(length);
    return length > end;
  }

  void add_logit_rows(const CaseStep& step, const CaseSegment& segment, StepPlan& plan) {
    const auto end = static_cast<int32_t>(plan.rows());
    for (int32_t row = step.all_logits ? end - segment.rows_each : end - 1; row < end; ++row) {
      const auto index = static_cast<size_t>(row);
      CaseRandom random(static_cast<uint64_t>(plan.tokens[index] + 1000 * plan.positions[index]));
      plan.logit_rows.push_back(row);
      plan.temperatures.push_back(0.5f + random.unit());
      plan.random.push_back(random.unit());
    }
  }

  const OperationCase& operation_case_;
  std::vector<CasePages> pages_;
  std::vector<int64_t> page_counts_;
  std::map<int32_t, int32_t> lengths_;
};

// No function of ops.h returns it: it becomes an output as those of a watch do.
void add_hidden_output(Program& program) {
  const auto experts = std::ranges::find(program.nodes, Op::experts, &Node::op);
  DUNLIN_CHECK(experts != program.nodes.end(), "a case that keeps what there is not");
  program.outputs.push_back({"hidden", experts->results.at(1)});
}

}  // namespace

Result<PreparedCase> prepare_case(const OperationCase& operation_case,
                                  const CaseVariation& variation) {
  RecordOptions options;
  options.taps = operation_case.taps;
  options.stateful = operation_case.stateful;
  options.keeps_hidden = operation_case.keeps_hidden;
  DUNLIN_ASSIGN_OR_RETURN(Program program,
                          record(operation_case.name, options, operation_case.record));
  if (operation_case.keeps_hidden) add_hidden_output(program);
  PreparedCase prepared;
  prepared.weights = case_weights(program, operation_case.format);
  if (variation.expanded) {
    DUNLIN_ASSIGN_OR_RETURN(prepared.program, expand(program, [](const Node&) { return false; }));
  } else {
    prepared.program = std::move(program);
  }
  CasePlanner planner(operation_case, prepared.program, variation);
  if (variation.slots) prepared.limits = planner.least_limits();
  prepared.pages_per_group = planner.page_counts();
  for (const CaseStep& step : operation_case.steps) prepared.plans.push_back(planner.plan(step));
  for (const StepPlan& plan : prepared.plans) {
    prepared.limits.rows = std::max(prepared.limits.rows, plan.rows());
    const auto logit_rows = static_cast<int64_t>(plan.logit_rows.size());
    prepared.limits.logit_rows = std::max(prepared.limits.logit_rows, logit_rows);
  }
  return prepared;
}

}  // namespace dunlin

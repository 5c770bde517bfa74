// validate(): every promise that Executable::run relies on, so that a wrong plan is an error and
// never a wild access.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "backend/api.h"

namespace dunlin {
namespace {

template <typename... Arguments>
Error step_error(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  return runtime_error("step: " + fmt::format(text, std::forward<Arguments>(arguments)...));
}

// The rows of one sequence are [first, end).
struct SequenceRows {
  int64_t first;
  int64_t end;
};

Result<std::vector<SequenceRows>> sequence_rows(const StepPlan& plan, const StepLimits& limits) {
  std::vector<SequenceRows> sequences;
  int64_t row = 0;
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    const Segment& segment = plan.segments[i];
    if (segment.sequences < 1 || segment.rows_each < 1) {
      return step_error("segment {} has {} sequences of {} rows", i, segment.sequences,
                        segment.rows_each);
    }
    const int64_t rows = int64_t{segment.sequences} * segment.rows_each;
    if (row + rows > plan.rows()) {
      return step_error("the segments have more rows than the {} tokens", plan.rows());
    }
    for (int32_t s = 0; s < segment.sequences; ++s) {
      sequences.push_back({row, row + segment.rows_each});
      row += segment.rows_each;
    }
  }
  if (row != plan.rows()) {
    return step_error("the segments have {} rows but there are {} tokens", row, plan.rows());
  }
  if (std::ssize(sequences) > limits.sequences) {
    return step_error("{} sequences exceed the limit of {}", sequences.size(), limits.sequences);
  }
  return sequences;
}

// The smallest table that the step's tokens index.
int64_t vocabulary(const Program& program) {
  int64_t smallest = std::numeric_limits<int64_t>::max();
  for (const Node& node : program.nodes) {
    if (node.op != Op::embed && node.op != Op::gather) continue;
    const ValueId ids = node.operands[node.op == Op::embed ? 0 : 1];
    const Value& value = program.values[static_cast<size_t>(ids)];
    if (value.kind != Value::Kind::input || value.input != InputKind::tokens) continue;
    const Dim& rows = program.type(node.operands[node.op == Op::embed ? 1 : 0]).dims.front();
    if (rows.known()) smallest = std::min(smallest, rows.size);
  }
  return smallest;
}

Result<void> validate_rows(const StepPlan& plan, const Program& program, const StepLimits& limits) {
  if (plan.rows() < 1) return step_error("there are no rows");
  if (plan.rows() > limits.rows) {
    return step_error("{} rows exceed the limit of {}", plan.rows(), limits.rows);
  }
  if (plan.positions.size() != plan.tokens.size()) {
    return step_error("{} positions for {} tokens", plan.positions.size(), plan.tokens.size());
  }
  const int64_t vocabulary_size = vocabulary(program);
  for (size_t row = 0; row < plan.tokens.size(); ++row) {
    if (plan.tokens[row] < 0 || plan.tokens[row] >= vocabulary_size) {
      return step_error("token {} of row {} is outside the vocabulary of {}", plan.tokens[row], row,
                        vocabulary_size);
    }
    if (plan.positions[row] < 0 || plan.positions[row] >= limits.context) {
      return step_error("position {} of row {} is outside the context of {}", plan.positions[row],
                        row, limits.context);
    }
  }
  return {};
}

Result<void> validate_logit_rows(const StepPlan& plan, const StepLimits& limits) {
  const size_t count = plan.logit_rows.size();
  if (std::cmp_greater(count, limits.logit_rows)) {
    return step_error("{} logit rows exceed the limit of {}", count, limits.logit_rows);
  }
  for (const int32_t row : plan.logit_rows) {
    if (row < 0 || row >= plan.rows()) {
      return step_error("logit row {} is not one of the {} rows", row, plan.rows());
    }
  }
  if (!plan.temperatures.empty() && plan.temperatures.size() != count) {
    return step_error("{} temperatures for {} logit rows", plan.temperatures.size(), count);
  }
  if (!plan.random.empty() && plan.random.size() != count) {
    return step_error("{} random numbers for {} logit rows", plan.random.size(), count);
  }
  return {};
}

Result<void> validate_positions(const StepPlan& plan, const std::vector<SequenceRows>& sequences,
                                const StepLimits& limits) {
  for (const SequenceRows& rows : sequences) {
    for (int64_t row = rows.first + 1; row < rows.end; ++row) {
      const auto index = static_cast<size_t>(row);
      if (plan.positions[index] <= plan.positions[index - 1]) {
        return step_error("position {} of row {} does not follow {}", plan.positions[index], row,
                          plan.positions[index - 1]);
      }
    }
  }
  if (plan.lengths.empty()) return {};
  if (plan.lengths.size() != sequences.size()) {
    return step_error("{} lengths for {} sequences", plan.lengths.size(), sequences.size());
  }
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int32_t last = plan.positions[static_cast<size_t>(sequences[s].end - 1)];
    if (plan.lengths[s] <= last || plan.lengths[s] > limits.context) {
      return step_error("length {} of sequence {} is not within {} and the context of {}",
                        plan.lengths[s], s, last + 1, limits.context);
    }
  }
  return {};
}

int64_t steps_of_row(const StepPlan& plan, int64_t row) {
  return plan.row_steps.empty() ? plan.steps : plan.row_steps[static_cast<size_t>(row)];
}

Result<void> validate_loop_rows(const StepPlan& plan, const StepLimits& limits) {
  for (int64_t row = 0; row < plan.rows(); ++row) {
    const auto index = static_cast<size_t>(row);
    if (plan.logit_rows[index] != row) {
      return step_error("logit row {} of a loop is row {}", row, plan.logit_rows[index]);
    }
    const int64_t steps = steps_of_row(plan, row);
    if (steps < 1 || steps > plan.steps) {
      return step_error("row {} takes {} of the {} steps of a loop", row, steps, plan.steps);
    }
    if (plan.positions[index] + steps > limits.context) {
      return step_error("{} steps from position {} of row {} leave the context of {}", steps,
                        plan.positions[index], row, limits.context);
    }
  }
  return {};
}

Result<void> validate_loop(const StepPlan& plan, const std::vector<SequenceRows>& sequences,
                           const StepLimits& limits, int64_t most_steps) {
  if (plan.steps < 1 || plan.steps > most_steps) {
    return step_error("{} steps at once, where 1 to {} are possible", plan.steps, most_steps);
  }
  if (plan.steps == 1) {
    if (plan.row_steps.empty() && plan.stop_ids.empty()) return {};
    return step_error("steps of rows or stop ids without a loop");
  }
  const auto rows = static_cast<size_t>(plan.rows());
  if (sequences.size() != rows || plan.logit_rows.size() != rows || !plan.lengths.empty()) {
    return step_error("a loop of {} rows has {} sequences, {} logit rows and {} lengths", rows,
                      sequences.size(), plan.logit_rows.size(), plan.lengths.size());
  }
  if (!plan.row_steps.empty() && plan.row_steps.size() != rows) {
    return step_error("{} steps of rows for {} rows", plan.row_steps.size(), rows);
  }
  if (!plan.stop_ids.empty() && plan.stop_ids.size() != rows * size_t{kStopIdsOfRow}) {
    return step_error("{} stop ids for {} rows of {}", plan.stop_ids.size(), rows, kStopIdsOfRow);
  }
  return validate_loop_rows(plan, limits);
}

Result<void> validate_table_shape(const KvTable& table, size_t group, size_t sequences,
                                  int64_t physical_pages) {
  bool valid = table.first.size() == sequences + 1 && table.first.front() == 0 &&
               std::is_sorted(table.first.begin(), table.first.end());
  valid = valid && std::cmp_equal(table.first.back(), table.pages.size());
  if (!valid) {
    return step_error("the table of KV group {} does not list the pages of {} sequences", group,
                      sequences);
  }
  for (const int32_t page : table.pages) {
    if (page < -1 || page >= physical_pages) {
      return step_error("page {} of KV group {} is not one of {}", page, group, physical_pages);
    }
  }
  return {};
}

// Each sequence has the pages of one slot, and no two have the same.
Result<void> validate_slots(const KvTable& table, size_t group, size_t sequences, int64_t each) {
  std::vector<int64_t> slots;
  for (size_t s = 0; s < sequences; ++s) {
    const std::span<const int32_t> pages = table.of(static_cast<int64_t>(s));
    int64_t slot = -1;
    for (size_t page = 0; page < pages.size(); ++page) {
      if (pages[page] < 0) continue;
      if (slot < 0) slot = pages[page] / each;
      if (pages[page] == slot * each + static_cast<int64_t>(page) % each) continue;
      return step_error("page {} of sequence {} is {} in KV group {}, not in slot {}", page, s,
                        pages[page], group, slot);
    }
    if (slot >= 0 && std::ranges::find(slots, slot) != slots.end()) {
      return step_error("two sequences are in slot {} of KV group {}", slot, group);
    }
    slots.push_back(slot);
  }
  return {};
}

// Every row has pages to be written to, in a loop one for each of its steps, and no page is written
// for two sequences.
Result<void> validate_written_pages(const StepPlan& plan, size_t group,
                                    const std::vector<SequenceRows>& sequences,
                                    int64_t physical_pages) {
  const KvTable& table = plan.tables[group];
  std::vector<int64_t> writer(static_cast<size_t>(physical_pages), -1);
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto sequence = static_cast<int64_t>(s);
    const std::span<const int32_t> pages = table.of(sequence);
    for (int64_t row = sequences[s].first; row < sequences[s].end; ++row) {
      const int64_t first = plan.positions[static_cast<size_t>(row)];
      for (int64_t position = first; position < first + steps_of_row(plan, row); ++position) {
        const auto number = static_cast<size_t>(position / kPageTokens);
        if (number >= pages.size() || pages[number] < 0) {
          return step_error("position {} of row {} has no page in KV group {}", position, row,
                            group);
        }
        int64_t& owner = writer[static_cast<size_t>(pages[number])];
        if (owner >= 0 && owner != sequence) {
          return step_error("page {} of KV group {} is written for two sequences", pages[number],
                            group);
        }
        owner = sequence;
      }
    }
  }
  return {};
}

Result<void> validate_moves(const StepPlan& plan, const Program& program, const KvState& state) {
  for (const PageMove& move : plan.moves) {
    if (move.group < 0 || std::cmp_greater_equal(move.group, program.kv_groups.size())) {
      return step_error("a page move names KV group {}", move.group);
    }
    const int64_t pages = state.pages(move.group);
    if (move.from < 0 || move.from >= pages || move.to < 0 || move.to >= pages) {
      return step_error("a page move from {} to {} is outside the {} pages of KV group {}",
                        move.from, move.to, pages, move.group);
    }
  }
  return {};
}

}  // namespace

Result<void> validate(const StepPlan& plan, const Program& program, const StepLimits& limits,
                      const KvState& state, int64_t most_steps) {
  DUNLIN_RETURN_IF_ERROR(validate_rows(plan, program, limits));
  DUNLIN_ASSIGN_OR_RETURN(const std::vector<SequenceRows> sequences, sequence_rows(plan, limits));
  DUNLIN_RETURN_IF_ERROR(validate_logit_rows(plan, limits));
  DUNLIN_RETURN_IF_ERROR(validate_positions(plan, sequences, limits));
  DUNLIN_RETURN_IF_ERROR(validate_loop(plan, sequences, limits, most_steps));
  if (plan.tables.size() != program.kv_groups.size()) {
    return step_error("{} page tables for {} KV groups", plan.tables.size(),
                      program.kv_groups.size());
  }
  for (size_t group = 0; group < plan.tables.size(); ++group) {
    const int64_t pages = state.pages(static_cast<int32_t>(group));
    DUNLIN_RETURN_IF_ERROR(
        validate_table_shape(plan.tables[group], group, sequences.size(), pages));
    DUNLIN_RETURN_IF_ERROR(validate_written_pages(plan, group, sequences, pages));
    if (const int64_t each = state.pages_per_slot(static_cast<int32_t>(group)); each > 0) {
      DUNLIN_RETURN_IF_ERROR(validate_slots(plan.tables[group], group, sequences.size(), each));
    }
  }
  return validate_moves(plan, program, state);
}

}  // namespace dunlin

// The step array: what a launch's program reads of a step.
#include <algorithm>
#include <bit>
#include <span>

#include "backend/pjrt/launch.h"

namespace dunlin::pjrt {
namespace {

class StepArray {
 public:
  StepArray(const StepPlan& plan, const Launch& launch, int64_t part)
      : plan_(plan),
        launch_(launch),
        rows_(Launch::of_part(launch.rows, launch.bucket.rows(), part)),
        logit_rows_(Launch::of_part(launch.logit_rows, launch.bucket.logit_rows, part)),
        layout_(launch.bucket),
        values_(static_cast<size_t>(layout_.size), 0) {}

  // Row `row` of the bucket, in its sequence number `number`; false where it is padding.
  bool set_row(int64_t row, int64_t number) {
    const int32_t from = rows_[static_cast<size_t>(row)];
    set(layout_.row_sequences, row, from < 0 ? -1 : static_cast<int32_t>(number));
    if (from < 0) return false;
    set(layout_.tokens, row, plan_.tokens[static_cast<size_t>(from)]);
    set(layout_.positions, row, plan_.positions[static_cast<size_t>(from)]);
    if (launch_.bucket.steps > 1) set_row_of_loop(row, static_cast<size_t>(from));
    return true;
  }

  void set_steps() { set(layout_.steps, 0, plan_.steps); }

  void set_sequence(int64_t number, int32_t slot, int32_t rows, int32_t length) {
    set(layout_.slots, number, slot);
    set(layout_.row_counts, number, rows);
    set(layout_.lengths, number, length);
  }

  // Of sequence `from` of the step, or of padding: the first position of the page in each place, -1
  // where none is.
  void set_pages(int64_t number, int32_t from) {
    for (size_t group = 0; group < launch_.bucket.groups.size(); ++group) {
      const int64_t read = launch_.bucket.read_positions(group) / kPageTokens;
      const int64_t places = launch_.bucket.groups[group].positions / kPageTokens;
      for (int64_t place = 0; place < read; ++place) {
        set(layout_.pages[group], number * read + place, -1);
      }
      if (from < 0) continue;
      const std::span<const int32_t> pages = plan_.tables[group].of(from);
      for (size_t page = 0; page < pages.size(); ++page) {
        const int64_t place = static_cast<int64_t>(page) % places;
        if (pages[page] < 0 || place >= read) continue;
        set(layout_.pages[group], number * read + place, static_cast<int32_t>(page) * kPageTokens);
      }
    }
  }

  void set_logit_row(int64_t r) {
    const int32_t from = logit_rows_[static_cast<size_t>(r)];
    set_float(layout_.temperatures, r, 1.0f);
    if (from < 0) {
      set(layout_.logit_rows, r, last_row());
      return;
    }
    const auto index = static_cast<size_t>(from);
    const auto row = std::ranges::find(rows_, plan_.logit_rows[index]);
    set(layout_.logit_rows, r, static_cast<int32_t>(row - rows_.begin()));
    if (!plan_.temperatures.empty()) {
      set_float(layout_.temperatures, r, plan_.temperatures[index]);
    }
    if (!plan_.random.empty()) set_float(layout_.random, r, plan_.random[index]);
  }

  std::vector<int32_t> take() { return std::move(values_); }

 private:
  // Of the only sequence: its logits, which nobody asked for, tell whether all of it is numbers
  // (StepResults::unasked_finite). Of several sequences the first row.
  int32_t last_row() const {
    if (launch_.bucket.sequences() != 1) return 0;
    const auto padding = std::ranges::find(rows_, -1);
    return std::max(0, static_cast<int32_t>(padding - rows_.begin()) - 1);
  }
  void set_row_of_loop(int64_t row, size_t from) {
    set(layout_.row_steps, row, plan_.row_steps.empty() ? plan_.steps : plan_.row_steps[from]);
    for (int64_t i = 0; i < kStopIdsOfRow; ++i) {
      const size_t id = from * size_t{kStopIdsOfRow} + static_cast<size_t>(i);
      set(layout_.stop_ids, row * kStopIdsOfRow + i,
          plan_.stop_ids.empty() ? -1 : plan_.stop_ids[id]);
    }
  }
  void set(const StepLayout::Field& field, int64_t index, int32_t value) {
    values_[static_cast<size_t>(field.offset + index)] = value;
  }
  void set_float(const StepLayout::Field& field, int64_t index, float value) {
    set(field, index, std::bit_cast<int32_t>(value));
  }

  const StepPlan& plan_;
  const Launch& launch_;
  std::span<const int32_t> rows_, logit_rows_;  // of the part
  StepLayout layout_;
  std::vector<int32_t> values_;
};

}  // namespace

std::vector<int32_t> LaunchPlanner::step_array(const StepPlan& plan, const Launch& launch,
                                               int64_t part) const {
  StepArray array(plan, launch, part);
  const auto members = Launch::of_part(launch.sequences, launch.bucket.sequences(), part);
  const std::vector<Sequence> sequences = sequences_of(plan, launch.bucket.groups);
  int64_t row = 0;
  int64_t number = 0;
  for (const BucketSegment& segment : launch.bucket.segments) {
    for (int64_t i = 0; i < segment.sequences; ++i, ++number) {
      int32_t rows = 0;
      for (int64_t j = 0; j < segment.rows_each; ++j, ++row) {
        if (array.set_row(row, number)) ++rows;
      }
      // Padding keeps to a slot of its own where slots are in order: it writes nothing there.
      const int32_t from = members[static_cast<size_t>(number)];
      const Sequence padding{.slot = static_cast<int32_t>(i)};
      const Sequence& sequence = from < 0 ? padding : sequences[static_cast<size_t>(from)];
      array.set_sequence(number, sequence.slot, rows, sequence.length);
      array.set_pages(number, from);
    }
  }
  for (int64_t r = 0; r < launch.bucket.logit_rows; ++r) array.set_logit_row(r);
  if (launch.bucket.steps > 1) array.set_steps();
  return array.take();
}

}  // namespace dunlin::pjrt

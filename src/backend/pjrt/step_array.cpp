// The step array: what a launch's program reads of a step.
#include <algorithm>
#include <bit>

#include "backend/pjrt/launch.h"

namespace dunlin::pjrt {
namespace {

class StepArray {
 public:
  explicit StepArray(int64_t size) : values_(static_cast<size_t>(size), 0) {}

  void set(const StepLayout::Field& field, int64_t index, int32_t value) {
    values_[static_cast<size_t>(field.offset + index)] = value;
  }
  void set(const StepLayout::Field& field, int64_t index, float value) {
    set(field, index, std::bit_cast<int32_t>(value));
  }
  std::vector<int32_t> take() { return std::move(values_); }

 private:
  std::vector<int32_t> values_;
};

// The places of a sequence's pages: the first position of the page in each, -1 where none is.
void set_pages(const StepLayout::Field& field, int64_t index, std::span<const int32_t> pages,
               int64_t pages_read, int64_t pages_per_slot, StepArray& array) {
  for (int64_t place = 0; place < pages_read; ++place) {
    array.set(field, index * pages_read + place, -1);
  }
  for (size_t page = 0; page < pages.size(); ++page) {
    if (pages[page] < 0) continue;
    const int64_t place = static_cast<int64_t>(page) % pages_per_slot;
    if (place >= pages_read) continue;
    array.set(field, index * pages_read + place, static_cast<int32_t>(page) * kPageTokens);
  }
}

}  // namespace

std::vector<int32_t> LaunchPlanner::step_array(const StepPlan& plan, const Launch& launch) const {
  const StepLayout layout(launch.bucket);
  StepArray array(layout.size);
  const std::vector<Sequence> sequences = sequences_of(plan, launch.bucket.groups);
  int64_t row = 0;
  int64_t number = 0;
  for (const BucketSegment& segment : launch.bucket.segments) {
    for (int64_t i = 0; i < segment.sequences; ++i, ++number) {
      int32_t real = 0;
      for (int64_t j = 0; j < segment.rows_each; ++j, ++row) {
        const int32_t from = launch.rows[static_cast<size_t>(row)];
        array.set(layout.row_sequences, row, from < 0 ? -1 : static_cast<int32_t>(number));
        if (from < 0) continue;
        ++real;
        array.set(layout.tokens, row, plan.tokens[static_cast<size_t>(from)]);
        array.set(layout.positions, row, plan.positions[static_cast<size_t>(from)]);
      }
      array.set(layout.row_counts, number, real);
      const int32_t from = launch.sequences[static_cast<size_t>(number)];
      array.set(layout.slots, number, static_cast<int32_t>(i));
      if (from >= 0) {
        const Sequence& sequence = sequences[static_cast<size_t>(from)];
        array.set(layout.slots, number, sequence.slot);
        array.set(layout.lengths, number, sequence.length);
      }
      for (size_t group = 0; group < launch.bucket.groups.size(); ++group) {
        set_pages(layout.pages[group], number,
                  from < 0 ? std::span<const int32_t>() : plan.tables[group].of(from),
                  launch.bucket.read_positions(group) / kPageTokens,
                  launch.bucket.groups[group].positions / kPageTokens, array);
      }
    }
  }
  for (size_t r = 0; r < launch.logit_rows.size(); ++r) {
    const auto index = static_cast<int64_t>(r);
    const auto from = static_cast<size_t>(launch.logit_rows[r]);
    const bool real = launch.logit_rows[r] >= 0;
    const int32_t wanted = real ? plan.logit_rows[from] : -1;
    const auto at = std::ranges::find(launch.rows, wanted);
    array.set(layout.logit_rows, index,
              real ? static_cast<int32_t>(at - launch.rows.begin()) : int32_t{0});
    array.set(layout.temperatures, index,
              real && !plan.temperatures.empty() ? plan.temperatures[from] : 1.0f);
    array.set(layout.random, index, real && !plan.random.empty() ? plan.random[from] : 0.0f);
  }
  return array.take();
}

}  // namespace dunlin::pjrt

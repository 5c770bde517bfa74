// Sizes of buckets grow by powers, so that few executables serve all steps: a bucket is at most
// four times what a step needs in rows of a prompt and in positions read, twice in sequences.
#include "backend/pjrt/launch.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kLeastPromptRows = 16;
constexpr int64_t kLeastKvLength = 1024;
constexpr int64_t kGrowth = 4;

int64_t whole_pages(int64_t positions) {
  return (positions + kPageTokens - 1) / kPageTokens * kPageTokens;
}

// The least of first, first * kGrowth, ... that is enough, and at most `most`.
int64_t grown(int64_t first, int64_t enough, int64_t most) {
  int64_t size = first;
  while (size < enough) size *= kGrowth;
  return std::min(size, most);
}

// All that grown() can give, with another growth; ascending.
std::vector<int64_t> sizes_up_to(int64_t first, int64_t growth, int64_t most) {
  std::vector<int64_t> sizes;
  for (int64_t size = first; size < most; size *= growth) sizes.push_back(size);
  sizes.push_back(most);
  return sizes;
}

int64_t power_of_two(int64_t enough) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, enough))));
}

}  // namespace

LaunchPlanner::LaunchPlanner(const Program& program, const StepLimits& limits, bool row_wise)
    : program_(program), limits_(limits), row_wise_(row_wise) {}

int64_t LaunchPlanner::pages_per_slot(int32_t group) const {
  const int64_t window = program_.kv_groups[static_cast<size_t>(group)].window;
  const int64_t all = whole_pages(limits_.context) / kPageTokens;
  if (window == 0) return all;
  return std::min(all, whole_pages(window + limits_.rows) / kPageTokens + 1);
}

std::vector<LaunchPlanner::Sequence> LaunchPlanner::sequences_of(
    const StepPlan& plan, const std::vector<KvGroupShape>& groups) const {
  std::vector<Sequence> sequences;
  int32_t row = 0;
  for (const Segment& segment : plan.segments) {
    for (int32_t i = 0; i < segment.sequences; ++i) {
      Sequence sequence{.first_row = row, .rows = segment.rows_each};
      row += segment.rows_each;
      const int32_t first = plan.positions[static_cast<size_t>(sequence.first_row)];
      const int32_t last = plan.positions[static_cast<size_t>(row - 1)];
      sequence.consecutive = last - first == sequence.rows - 1;
      sequence.length = plan.lengths.empty() ? last + 1 : plan.lengths[sequences.size()];
      sequence.slot = static_cast<int32_t>(sequences.size());
      sequences.push_back(sequence);
    }
  }
  for (size_t s = 0; s < sequences.size() && !groups.empty(); ++s) {
    const std::span<const int32_t> pages = plan.tables[0].of(static_cast<int64_t>(s));
    const auto page = std::ranges::find_if(pages, [](int32_t p) { return p >= 0; });
    DUNLIN_CHECK(page != pages.end(), "a sequence without a page");
    sequences[s].slot = static_cast<int32_t>(*page / (groups[0].positions / kPageTokens));
  }
  return sequences;
}

int64_t LaunchPlanner::kv_length(int64_t longest) const {
  return grown(kLeastKvLength, longest, whole_pages(limits_.context));
}

Launch LaunchPlanner::exact(const StepPlan& plan, const std::vector<Sequence>& sequences) const {
  Launch launch;
  for (const Segment& segment : plan.segments) {
    launch.bucket.segments.push_back({segment.sequences, segment.rows_each});
  }
  for (int32_t row = 0; row < plan.rows(); ++row) launch.rows.push_back(row);
  int32_t longest = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    launch.sequences.push_back(static_cast<int32_t>(s));
    longest = std::max(longest, sequences[s].length);
    launch.bucket.consecutive = launch.bucket.consecutive && sequences[s].consecutive;
  }
  launch.bucket.kv_length = whole_pages(longest);
  launch.bucket.slots = longest;
  for (size_t r = 0; r < plan.logit_rows.size(); ++r) {
    launch.logit_rows.push_back(static_cast<int32_t>(r));
  }
  if (launch.logit_rows.empty()) launch.logit_rows.push_back(-1);
  launch.bucket.logit_rows = static_cast<int64_t>(launch.logit_rows.size());
  return launch;
}

// The logit rows whose rows are in the launch; at least `least` with padding.
void LaunchPlanner::add_logit_rows(const StepPlan& plan, int64_t least, Launch& launch) const {
  for (size_t r = 0; r < plan.logit_rows.size(); ++r) {
    if (std::ranges::find(launch.rows, plan.logit_rows[r]) != launch.rows.end()) {
      launch.logit_rows.push_back(static_cast<int32_t>(r));
    }
  }
  const auto needed = static_cast<int64_t>(launch.logit_rows.size());
  launch.bucket.logit_rows = needed <= least ? least : power_of_two(needed);
  launch.logit_rows.resize(static_cast<size_t>(launch.bucket.logit_rows), -1);
}

Launch LaunchPlanner::decode(const StepPlan& plan, const std::vector<Sequence>& sequences) const {
  Launch launch;
  int32_t highest = 0;
  int32_t longest = 0;
  for (const Sequence& sequence : sequences) {
    if (sequence.rows != 1) continue;
    highest = std::max(highest, sequence.slot);
    longest = std::max(longest, sequence.length);
  }
  const int64_t most = std::max<int64_t>(limits_.sequences, highest + 1);
  const int64_t count = std::min(power_of_two(highest + 1), most);
  launch.rows.assign(static_cast<size_t>(count), -1);
  launch.sequences.assign(static_cast<size_t>(count), -1);
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].rows != 1) continue;
    const auto slot = static_cast<size_t>(sequences[s].slot);
    launch.rows[slot] = sequences[s].first_row;
    launch.sequences[slot] = static_cast<int32_t>(s);
  }
  launch.bucket.segments = {{count, 1, /*slot_order=*/true}};
  launch.bucket.kv_length = kv_length(longest);
  add_logit_rows(plan, count, launch);
  return launch;
}

Launch LaunchPlanner::prompt(const StepPlan& plan, const std::vector<Sequence>& sequences,
                             size_t index) const {
  const Sequence& sequence = sequences[index];
  const int64_t within = std::min(limits_.rows, whole_pages(limits_.context));
  const int64_t most = std::max<int64_t>(within, sequence.rows);
  const int64_t count = grown(std::min(kLeastPromptRows, most), sequence.rows, most);
  Launch launch;
  launch.rows.assign(static_cast<size_t>(count), -1);
  for (int32_t i = 0; i < sequence.rows; ++i) {
    launch.rows[static_cast<size_t>(i)] = sequence.first_row + i;
  }
  launch.sequences = {static_cast<int32_t>(index)};
  launch.bucket.segments = {{1, count}};
  launch.bucket.kv_length = kv_length(sequence.length);
  launch.bucket.consecutive = sequence.consecutive;
  add_logit_rows(plan, 1, launch);
  return launch;
}

std::vector<Bucket> LaunchPlanner::buckets(const std::vector<KvGroupShape>& groups) const {
  DUNLIN_CHECK(row_wise_, "buckets of a program that is compiled for each step");
  const int64_t context = whole_pages(limits_.context);
  const int64_t most_rows = std::min(limits_.rows, context);
  std::vector<Bucket> all;
  const auto add = [&](const BucketSegment& segment, int64_t logit_rows, int64_t kv_length) {
    all.push_back({.segments = {segment},
                   .logit_rows = logit_rows,
                   .kv_length = kv_length,
                   .slots = kv_length,
                   .groups = groups});
  };
  for (const int64_t kv_length : sizes_up_to(kLeastKvLength, kGrowth, context)) {
    for (const int64_t count : sizes_up_to(1, 2, limits_.sequences)) {
      add({count, 1, /*slot_order=*/true}, count, kv_length);
    }
    int64_t fewest = 2;  // rows that need the bucket; one row is no prompt's
    for (const int64_t rows :
         sizes_up_to(std::min(kLeastPromptRows, most_rows), kGrowth, most_rows)) {
      if (fewest <= std::min(rows, kv_length)) add({1, rows}, 1, kv_length);
      fewest = rows + 1;
    }
  }
  return all;
}

std::vector<Launch> LaunchPlanner::split(const StepPlan& plan,
                                         const std::vector<KvGroupShape>& groups) const {
  const std::vector<Sequence> sequences = sequences_of(plan, groups);
  std::vector<Launch> launches;
  if (!row_wise_) launches.push_back(exact(plan, sequences));
  const auto is_single = [](const Sequence& sequence) { return sequence.rows == 1; };
  if (row_wise_ && std::ranges::any_of(sequences, is_single)) {
    launches.push_back(decode(plan, sequences));
  }
  for (size_t s = 0; row_wise_ && s < sequences.size(); ++s) {
    if (!is_single(sequences[s])) launches.push_back(prompt(plan, sequences, s));
  }
  for (Launch& launch : launches) {
    launch.bucket.groups = groups;
    if (launch.bucket.slots == 0) launch.bucket.slots = launch.bucket.kv_length;
  }
  return launches;
}

}  // namespace dunlin::pjrt

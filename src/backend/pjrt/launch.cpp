// Sizes of buckets grow by powers, so that few executables serve all steps: a bucket is at most
// four times what a step needs in rows of a prompt and in positions read, twice in sequences.
#include "backend/pjrt/launch.h"

#include <algorithm>
#include <bit>
#include <utility>

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

LaunchPlanner::LaunchPlanner(const Program& program, const StepLimits& limits, bool row_wise,
                             int64_t parts, int64_t steps)
    : program_(program), limits_(limits), row_wise_(row_wise), parts_(parts), steps_(steps) {
  DUNLIN_CHECK((parts == 1 && steps == 1) || row_wise,
               "parts or loops of a step that is computed as a whole");
}

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
      const int32_t steps =
          plan.row_steps.empty() ? plan.steps : plan.row_steps[static_cast<size_t>(row - 1)];
      sequence.longest = sequence.length + steps - 1;
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
  for (Sequence& sequence : sequences) {
    sequence.part = static_cast<int32_t>(sequence.slot % parts_);
    sequence.slot = static_cast<int32_t>(sequence.slot / parts_);
  }
  return sequences;
}

std::vector<LaunchPlanner::Holding> LaunchPlanner::holdings(
    const StepPlan& plan, const std::vector<KvGroupShape>& groups) const {
  std::vector<Holding> holdings;
  for (const Sequence& it : sequences_of(plan, groups)) {
    holdings.push_back({.slot = it.slot * static_cast<int32_t>(parts_) + it.part,
                        .first_row = it.first_row,
                        .rows = it.rows,
                        .first = plan.positions[static_cast<size_t>(it.first_row)],
                        .length = it.length,
                        .longest = it.longest});
  }
  return holdings;
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

// The logit rows whose rows are in the launch; of each part at least `least`, with padding.
void LaunchPlanner::add_logit_rows(const StepPlan& plan, int64_t least, Launch& launch) const {
  std::vector<std::vector<int32_t>> wanted(static_cast<size_t>(parts_));
  int64_t most = 0;
  for (int64_t part = 0; part < parts_; ++part) {
    std::vector<int32_t>& list = wanted[static_cast<size_t>(part)];
    const auto rows = Launch::of_part(launch.rows, launch.bucket.rows(), part);
    for (size_t r = 0; r < plan.logit_rows.size(); ++r) {
      if (std::ranges::find(rows, plan.logit_rows[r]) != rows.end())
        list.push_back(static_cast<int32_t>(r));
    }
    most = std::max(most, static_cast<int64_t>(list.size()));
  }
  launch.bucket.logit_rows = most <= least ? least : power_of_two(most);
  for (std::vector<int32_t>& list : wanted) {
    list.resize(static_cast<size_t>(launch.bucket.logit_rows), -1);
    launch.logit_rows.insert(launch.logit_rows.end(), list.begin(), list.end());
  }
}

Launch LaunchPlanner::decode(const StepPlan& plan, const std::vector<Sequence>& sequences) const {
  Launch launch;
  int32_t highest = 0;
  int32_t longest = 0;
  for (const Sequence& sequence : sequences) {
    if (sequence.rows != 1) continue;
    highest = std::max(highest, sequence.slot);
    longest = std::max(longest, sequence.longest);
  }
  const int64_t most = std::max<int64_t>(slots_of_part(limits_.sequences), highest + 1);
  const int64_t count = std::min(power_of_two(highest + 1), most);
  launch.rows.assign(static_cast<size_t>(count * parts_), -1);
  launch.sequences.assign(static_cast<size_t>(count * parts_), -1);
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].rows != 1) continue;
    const auto place = static_cast<size_t>(sequences[s].part * count + sequences[s].slot);
    launch.rows[place] = sequences[s].first_row;
    launch.sequences[place] = static_cast<int32_t>(s);
  }
  launch.bucket.segments = {{count, 1, /*slot_order=*/true}};
  launch.bucket.kv_length = kv_length(longest);
  if (plan.steps == 1) {
    add_logit_rows(plan, count, launch);
    return launch;
  }
  // What a row chose is its own next token: logit rows are in the order of slots, too.
  launch.bucket.steps = steps_;
  launch.bucket.logit_rows = count;
  launch.logit_rows = launch.rows;
  return launch;
}

Launch LaunchPlanner::prompts(const StepPlan& plan, const std::vector<Sequence>& sequences,
                              const std::vector<int32_t>& members) const {
  Launch launch;
  int64_t rows = 0;
  int64_t longest = 0;
  for (const int32_t member : members) {
    if (member < 0) continue;
    const Sequence& sequence = sequences[static_cast<size_t>(member)];
    rows = std::max<int64_t>(rows, sequence.rows);
    longest = std::max<int64_t>(longest, sequence.length);
    launch.bucket.consecutive = launch.bucket.consecutive && sequence.consecutive;
  }
  const int64_t within = std::min(limits_.rows, whole_pages(limits_.context));
  const int64_t most = std::max(within, rows);
  const int64_t count = grown(std::min(kLeastPromptRows, most), rows, most);
  launch.rows.assign(static_cast<size_t>(count * parts_), -1);
  for (size_t part = 0; part < members.size(); ++part) {
    if (members[part] < 0) continue;
    const Sequence& sequence = sequences[static_cast<size_t>(members[part])];
    for (int32_t i = 0; i < sequence.rows; ++i) {
      const size_t row = part * static_cast<size_t>(count) + static_cast<size_t>(i);
      launch.rows[row] = sequence.first_row + i;
    }
  }
  launch.sequences = members;
  launch.bucket.segments = {{1, count}};
  launch.bucket.kv_length = kv_length(longest);
  add_logit_rows(plan, 1, launch);
  return launch;
}

// The first of each part together, then the second, and so on.
std::vector<Launch> LaunchPlanner::all_prompts(const StepPlan& plan,
                                               const std::vector<Sequence>& sequences) const {
  std::vector<std::vector<int32_t>> waiting(static_cast<size_t>(parts_));
  size_t longest = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].rows == 1) continue;
    std::vector<int32_t>& queue = waiting[static_cast<size_t>(sequences[s].part)];
    queue.push_back(static_cast<int32_t>(s));
    longest = std::max(longest, queue.size());
  }
  std::vector<Launch> launches;
  for (size_t i = 0; i < longest; ++i) {
    std::vector<int32_t> members;
    for (const std::vector<int32_t>& queue : waiting)
      members.push_back(i < queue.size() ? queue[i] : -1);
    launches.push_back(prompts(plan, sequences, members));
  }
  return launches;
}

std::vector<Bucket> LaunchPlanner::buckets(const std::vector<KvGroupShape>& groups) const {
  DUNLIN_CHECK(row_wise_, "buckets of a program that is compiled for each step");
  const int64_t context = whole_pages(limits_.context);
  const int64_t most_rows = std::min(limits_.rows, context);
  std::vector<Bucket> all;
  const auto add = [&](const BucketSegment& segment, int64_t logit_rows, int64_t kv_length,
                       int64_t steps = 1) {
    all.push_back({.segments = {segment},
                   .logit_rows = logit_rows,
                   .kv_length = kv_length,
                   .slots = kv_length,
                   .steps = steps,
                   .groups = groups});
  };
  for (const int64_t kv_length : sizes_up_to(kLeastKvLength, kGrowth, context)) {
    for (const int64_t count : sizes_up_to(1, 2, slots_of_part(limits_.sequences))) {
      add({count, 1, /*slot_order=*/true}, count, kv_length);
      if (steps_ > 1) add({count, 1, /*slot_order=*/true}, count, kv_length, steps_);
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
  DUNLIN_CHECK(plan.steps >= 1 && plan.steps <= steps_, "a loop of more steps than there are");
  const std::vector<Sequence> sequences = sequences_of(plan, groups);
  std::vector<Launch> launches;
  if (!row_wise_) {
    launches.push_back(exact(plan, sequences));
  } else {
    const auto is_single = [](const Sequence& sequence) { return sequence.rows == 1; };
    if (std::ranges::any_of(sequences, is_single)) launches.push_back(decode(plan, sequences));
    for (Launch& launch : all_prompts(plan, sequences)) launches.push_back(std::move(launch));
  }
  for (Launch& launch : launches) {
    launch.bucket.groups = groups;
    if (launch.bucket.slots == 0) launch.bucket.slots = launch.bucket.kv_length;
  }
  return launches;
}

}  // namespace dunlin::pjrt

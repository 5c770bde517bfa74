// IndexRuns: some elements of a dimension and the places they take in a smaller one.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

namespace dunlin {

// Elements [begin, begin + count) of the whole are elements [at, at + count) of the part.
struct IndexRun {
  int64_t at = 0;
  int64_t begin = 0;
  int64_t count = 0;
  friend auto operator<=>(const IndexRun&, const IndexRun&) = default;
};

// Appends a run, to the last one where it goes on with it on both sides.
inline void append_run(std::vector<IndexRun>& runs, const IndexRun& run) {
  if (!runs.empty()) {
    IndexRun& last = runs.back();
    if (last.at + last.count == run.at && last.begin + last.count == run.begin) {
      last.count += run.count;
      return;
    }
  }
  runs.push_back(run);
}

// The part has `extent` elements: those of the runs, which ascend on both sides, and zeros between.
struct IndexRuns {
  int64_t extent = 0;
  std::vector<IndexRun> runs = {};

  // The whole of a dimension.
  static IndexRuns all(int64_t extent) {
    return {.extent = extent, .runs = {{.at = 0, .begin = 0, .count = extent}}};
  }
  bool is_all_of(int64_t whole) const { return *this == all(whole); }
  int64_t count() const {
    int64_t sum = 0;
    for (const IndexRun& run : runs) sum += run.count;
    return sum;
  }
  friend auto operator<=>(const IndexRuns&, const IndexRuns&) = default;
};

}  // namespace dunlin

#include "backend/pjrt/bucket.h"

#include <fmt/format.h>

#include <algorithm>

namespace dunlin::pjrt {

int64_t Bucket::rows() const {
  int64_t count = 0;
  for (const BucketSegment& segment : segments) count += segment.sequences * segment.rows_each;
  return count;
}

int64_t Bucket::sequences() const {
  int64_t count = 0;
  for (const BucketSegment& segment : segments) count += segment.sequences;
  return count;
}

int64_t Bucket::read_positions(size_t group) const {
  return std::min(kv_length, groups[group].positions);
}

std::string Bucket::text() const {
  std::string rows;
  for (const BucketSegment& segment : segments) {
    rows += fmt::format("{}{}x{}", rows.empty() ? "" : "+", segment.sequences, segment.rows_each);
  }
  const std::string repeated = steps > 1 ? fmt::format(", {} steps", steps) : "";
  return fmt::format("{} rows, {} logit rows, {} positions{}", rows, logit_rows, kv_length,
                     repeated);
}

StepLayout::StepLayout(const Bucket& bucket) {
  const int64_t rows = bucket.rows();
  const int64_t sequences = bucket.sequences();
  tokens = add(rows);
  positions = add(rows);
  row_sequences = add(rows);
  logit_rows = add(bucket.logit_rows);
  temperatures = add(bucket.logit_rows);
  random = add(bucket.logit_rows);
  slots = add(sequences);
  row_counts = add(sequences);
  lengths = add(sequences);
  for (size_t group = 0; group < bucket.groups.size(); ++group) {
    pages.push_back(add(sequences * (bucket.read_positions(group) / kPageTokens)));
  }
  if (bucket.steps == 1) return;
  steps = add(1);
  row_steps = add(rows);
  stop_ids = add(rows * kStopIdsOfRow);
}

StepLayout::Field StepLayout::add(int64_t count) {
  const Field field{size, count};
  size += count;
  return field;
}

}  // namespace dunlin::pjrt

// Bucket: the sizes that one executable is compiled for. A step is fitted into buckets: rows that
// are left over are padding and change nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program/program.h"
#include "step/step.h"

namespace dunlin::pjrt {

struct BucketSegment {
  int64_t sequences = 1;
  int64_t rows_each = 1;
  bool slot_order = false;  // sequence i lies in slot i: nothing is looked up
  friend auto operator<=>(const BucketSegment&, const BucketSegment&) = default;
};

// The arrays of a KV group: [slots, kv heads, positions, row], one for keys and one for values of each
// layer, or one for both (keys_beside_values()). Position p of a sequence lies at p mod positions.
struct KvGroupShape {
  int64_t slots = 0;
  int64_t positions = 0;  // a multiple of kPageTokens
  friend auto operator<=>(const KvGroupShape&, const KvGroupShape&) = default;
};

struct Bucket {
  std::vector<BucketSegment> segments = {};
  int64_t logit_rows = 0;
  // No sequence holds more: attention reads so much of a group that keeps every position.
  int64_t kv_length = 0;  // a multiple of kPageTokens
  int64_t slots = 0;      // what Symbol::slots is bound to
  // The rows of a sequence are at consecutive positions: its keys are written as one block.
  bool consecutive = true;
  // More than 1: a loop of up to so many steps (StepPlan::steps).
  int64_t steps = 1;
  std::vector<KvGroupShape> groups = {};

  int64_t rows() const;
  int64_t sequences() const;
  SymbolSizes sizes() const { return {rows(), logit_rows, sequences(), slots}; }
  // Positions of a group that attention reads.
  int64_t read_positions(size_t group) const;
  // "8x1 rows, 8 logit rows, 4096 positions"; of a loop with ", 8 steps".
  std::string text() const;
  friend auto operator<=>(const Bucket&, const Bucket&) = default;
};

// What a launch takes besides weights and state: one i32 array, so that a step is one transfer.
// Float fields hold the bits of float32.
struct StepLayout {
  struct Field {
    int64_t offset = 0;
    int64_t count = 0;
  };
  explicit StepLayout(const Bucket& bucket);

  Field tokens, positions, row_sequences;  // [T]; row_sequences of padding is -1
  Field logit_rows, temperatures, random;  // [R]
  Field slots;                             // [S]: where the sequence lies in the KV arrays
  Field row_counts;                        // [S]: rows that are no padding, the first ones
  Field lengths;                           // [S]: positions held after this step's writes
  // Of each group [S, pages read]: position of the first token of each page, negative when the page
  // is absent.
  std::vector<Field> pages;
  // Of a loop alone.
  Field steps;      // [1]: of this launch
  Field row_steps;  // [T]: that the row takes at most; 0 for padding
  Field stop_ids;   // [T, kStopIdsOfRow]
  int64_t size = 0;

 private:
  Field add(int64_t count);
};

}  // namespace dunlin::pjrt

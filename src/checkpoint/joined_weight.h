// A weight that lies in parts, as one ByteSource: bytes of any range come from the parts that hold
// them, and nothing else is read, but for a sixteenth at most that several parts have.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/index_runs.h"
#include "base/result.h"

namespace dunlin {

// Rows and columns of the weight, stored row by row: rows.extent rows of columns.extent bytes.
struct JoinedPart {
  std::shared_ptr<const ByteSource> source;
  uint64_t offset = 0;  // of the first row
  IndexRuns rows;
  IndexRuns columns;  // in bytes
};

struct WholeWeight {
  std::string name;
  std::string file;  // for messages; also the name of the source
  int64_t rows = 0;
  int64_t row_bytes = 0;
};

// What the tables of joined weights may still hold: cells where a run of rows meets one of columns.
struct JoinBudget {
  int64_t cells = int64_t{4} << 20;
};

// Where parts overlap, the first one is read. Errors (kind model) name file and weight: runs outside of
// it, bytes that no part has, more pieces than the budget allows.
Result<std::shared_ptr<const ByteSource>> join_parts(const WholeWeight& whole,
                                                     std::vector<JoinedPart> parts,
                                                     JoinBudget& budget);

}  // namespace dunlin

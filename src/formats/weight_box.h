// WeightBox: some rows and columns of a weight, and how they are read without the rest of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/index_runs.h"
#include "base/result.h"
#include "formats/weight_view.h"

namespace dunlin {

// Canonical rows and columns. The columns are whole blocks of the weight's format, in both places; a
// vector has one row.
struct WeightBox {
  IndexRuns rows;
  IndexRuns columns;
};

// Bytes of the box in the weight's format, the zeros that pad it included.
uint64_t box_bytes(const WeightView& view, const WeightBox& box);
// Those that are read from the checkpoint: without the zeros.
uint64_t stored_bytes(const WeightView& view, const WeightBox& box);

// Gives the box row by row in the weight's format, in pieces of at most 4 MiB or one row; what pads
// it is zero, which every format decodes to 0. Reads stored_bytes() of the source, rows that lie side
// by side in one call; holds two pieces. An error of `take` or of the source ends it.
using TakeBox = std::function<Result<void>(std::span<const std::byte> bytes)>;
Result<void> read_box(const WeightView& view, const WeightBox& box, const TakeBox& take);

}  // namespace dunlin

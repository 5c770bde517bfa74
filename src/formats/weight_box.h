// WeightBox: some rows and columns of a weight, and how they are read without the rest of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/index_runs.h"
#include "base/result.h"
#include "formats/weight_view.h"

namespace dunlin {

// Canonical rows and columns. The columns are whole blocks of the weight's format, in both places, and
// of those that share one of several scales; of these the last one of the weight may be short. A
// vector has one row.
struct WeightBox {
  IndexRuns rows;
  IndexRuns columns;
  friend bool operator==(const WeightBox&, const WeightBox&) = default;
};

// Columns of rows of this form as bytes of them, the part's as `form.of_columns(columns.extent)` says:
// their scales, if any lie beside the elements, and the elements. Nothing where a block would be cut,
// or for more columns than a weight can have.
std::optional<IndexRuns> column_bytes(const RowForm& form, const IndexRuns& columns);

// What a row of the box is: its columns, with their scales before them.
RowForm box_form(const WeightView& view, const WeightBox& box);

// Bytes of the box in that form, the zeros that pad it included.
uint64_t box_bytes(const WeightView& view, const WeightBox& box);
// Those that the checkpoint has for it: without the zeros, and a scale once for all rows that share it.
uint64_t stored_bytes(const WeightView& view, const WeightBox& box);

// Gives the box row by row, each as box_form() says, in pieces of at most 4 MiB or one row; what pads
// it is zero, which every format decodes to 0. Reads stored_bytes() of the source, less the scales
// that the view has already, rows that lie side by side in one call, columns of many rows as lines of
// the source; holds two pieces. An error of `take` or of the source ends it.
using TakeBox = std::function<Result<void>(std::span<const std::byte> bytes)>;
Result<void> read_box(const WeightView& view, const WeightBox& box, const TakeBox& take);

// The box where it lies in memory as read_box() would give it; nothing where it has to be read: in another
// order or with others between, with scales beside the elements, padded, not at a multiple of `alignment`,
// or of a source that does not hold its bytes.
Result<std::optional<HeldBytes>> hold_box(const WeightView& view, const WeightBox& box,
                                          size_t alignment);

// Gives the same box of two weights whose rows are stored in turn, piece by piece of both, from one
// reading of `both`, their rows_in_turn(). Numbers of `take`: 0 is the weight of the even rows.
using TakeBoxes = std::function<Result<void>(size_t number, std::span<const std::byte> bytes)>;
Result<void> read_box_of_both(const WeightView& both, const WeightBox& box, const TakeBoxes& take);

// A box and what it is of.
struct BoxOfWeight {
  WeightView view;
  WeightBox box;
};

// Gives all boxes, each in order; of two weights whose rows are stored in turn, as gate and up of
// experts may be, the equal boxes together, so that nothing is read twice.
Result<void> read_boxes(std::span<const BoxOfWeight> boxes, const TakeBoxes& take);

}  // namespace dunlin

// A weight in another format, encoded while it is read.
#pragma once

#include "convert/row_encoder.h"
#include "formats/weight_view.h"

namespace dunlin {

// `from` with the rows that `target` describes, whose importance outlives it. Rows are encoded by
// whoever reads them, on any thread, to the bits that TensorStream writes; nothing is kept. Reading a
// part of a row encodes all of it, and those that share their scales with it.
WeightView encoded_rows(const WeightView& from, const RowTarget& target);

}  // namespace dunlin

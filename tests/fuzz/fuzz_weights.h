// Reads and decodes every weight of a checkpoint that a fuzz target opened.
#pragma once

#include <cstdlib>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace dunlin {

// What opened must be readable: the extents were checked against the file. Only scales are read with
// their weight, and numbers that are no scales are an error.
inline void read_every_weight(const Checkpoint& checkpoint) {
  for (const WeightInfo& weight : checkpoint.weights()) {
    const auto view = checkpoint.weight(weight.name);
    if (!view.ok()) {
      if (view.error().kind != ErrorKind::model || traits(weight.format).largest == 0.0f)
        std::abort();
      continue;
    }
    std::vector<std::byte> bytes(static_cast<size_t>(view->rows * view->bytes_per_row()));
    if (!view->read_rows(0, view->rows, bytes).ok()) std::abort();
    std::vector<float> values(static_cast<size_t>(view->rows * view->columns));
    view->row_form().decode(bytes.data(), view->rows, values.data());
  }
}

}  // namespace dunlin

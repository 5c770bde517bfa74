// EmbedRows: the rows of a table that ids choose, for the step of `embed` and for linears that gather
// what they norm.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/kernels/kernels.h"

namespace dunlin::cpu {

struct EmbedRows {
  PackedMatrix table;
  Kernel<DecodeRowFunction> decode;
  const int32_t* ids = nullptr;  // [rows]
  float scale = 1;
  float* y = nullptr;  // [rows, table.layout.columns]

  // Ids that a model computes are not checked by validate(): the nearest row is read, as `gather`
  // does.
  void gather(int64_t row) const noexcept {
    const int64_t id = std::clamp<int64_t>(ids[row], 0, table.layout.rows - 1);
    decode.run(table, id, scale, y + row * table.layout.columns);
  }
  // Of a row of the table, as it is held.
  int64_t row_bytes() const { return table.layout.stripe_bytes() / kStripeRows; }
};

}  // namespace dunlin::cpu

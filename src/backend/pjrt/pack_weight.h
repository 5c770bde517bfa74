// FormPacker: rows of a checkpoint's weight as the arrays of a DeviceForm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/packed_forms.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "formats/row_form.h"
#include "formats/weight_box.h"
#include "formats/weight_view.h"

namespace dunlin::pjrt {

// Codes, scales and, where the form has them, minimums: row-major in the order of the device's
// dimensions, a byte for each code.
using HostArrays = std::vector<std::vector<std::byte>>;

class FormPacker {
 public:
  // For `matrices` of `outputs` rows each, which are as `row` says. The form packs them: it has codes
  // and scales, and is one that packed_forms.h gives for the rows' format.
  FormPacker(const RowForm& row, const DeviceForm& form, int64_t matrices, int64_t outputs);

  // The next `count` whole rows. Threads work on blocks of rows; each holds one decoded block.
  Result<void> add(std::span<const std::byte> rows, ThreadPool& pool);
  // Once every row was added.
  HostArrays take() &&;

 private:
  struct Block;  // some rows of one matrix, decoded
  void decode(const std::byte* row, Block& block, int64_t index) const;
  void pack(const std::byte* rows, int64_t first, int64_t count, Block& block);
  void store(const Block& block, int64_t matrix, int64_t first, int64_t count);

  RowForm row_;
  DeviceForm form_;
  int64_t outputs_;
  int64_t rows_;        // of all matrices
  int64_t groups_ = 1;  // scales of a row
  int64_t added_ = 0;
  HostArrays arrays_;
};

// What the box holds of the weight, as `form`, of `matrices` stacked in its rows. Reads and holds what
// read_box() does besides. Errors: those of the source, and out of memory.
Result<HostArrays> read_packed(const WeightView& view, const WeightBox& box, const DeviceForm& form,
                               int64_t matrices, ThreadPool& pool);

}  // namespace dunlin::pjrt

// WeightView: a weight of a checkpoint as a back end reads it: canonical name and shape, format,
// and where the bytes lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "formats/format.h"
#include "formats/row_form.h"

namespace dunlin {

// Where canonical row i (Hugging Face order: half-split rope, separate gate and up) lies among the
// stored rows.
struct RowMap {
  int64_t offset = 0;  // first stored row, for a weight that is part of a larger tensor
  int64_t stride = 1;  // 2 for interleaved gate and up
  int64_t rope_head_dim =
      0;  // > 0: stored rows of each head are interleaved (GGUF arch llama, attn_q and attn_k):
          // canonical h*D + j is stored h*D + 2*(j mod D/2) + j div (D/2)

  int64_t stored_row(int64_t row) const {
    if (rope_head_dim > 0) {
      const int64_t half = rope_head_dim / 2;
      const int64_t head = row / rope_head_dim;
      const int64_t within = row % rope_head_dim;
      row = head * rope_head_dim + 2 * (within % half) + within / half;
    }
    return offset + stride * row;
  }
  bool identity() const { return offset == 0 && stride == 1 && rope_head_dim == 0; }
  friend bool operator==(const RowMap&, const RowMap&) = default;
};

// Scales that lie beside the elements of a weight: one for a block of stored rows and columns.
struct WeightScales {
  int64_t rows = 1;                // that share a scale
  int64_t per_row = 1;             // scales of one row
  std::vector<float> values = {};  // positive; [blocks of rows, per_row]
};

// A matrix [rows, columns], row-major, or a vector (rows == 1). Validated against the file when it
// was made: every row that row_map can name lies inside the source.
struct WeightView {
  std::string name;  // canonical (Hugging Face) name, for messages
  Format format = Format::f32;
  int64_t rows = 0;
  int64_t columns = 0;
  std::shared_ptr<const ByteSource> source;
  uint64_t offset = 0;  // of stored row 0, bytes
  RowMap row_map;
  int64_t scale_columns = 0;  // that share a scale; 0: scales, if any, are in the blocks
  // Null: the source has rows as row_form() says. Otherwise it has the elements alone.
  std::shared_ptr<const WeightScales> scales = {};
  // Stored the other way round: of a few rows or of many, each column is a read of the file.
  bool columns_apart = false;

  RowForm row_form() const { return {&traits(format), columns, scale_columns}; }
  int64_t bytes_per_row() const { return row_form().bytes(); }
  // In the file: elements and scales.
  uint64_t stored_bytes() const;

  // Reads canonical rows [first, first + count) into `into` (count * bytes_per_row() bytes), in
  // canonical order, each as row_form() says. Safe from any thread.
  Result<void> read_rows(int64_t first, int64_t count, std::span<std::byte> into) const;

 private:
  Result<void> read_stored(int64_t first, int64_t count, std::span<std::byte> into) const;
};

// The weight whose rows 2 i and 2 i + 1 are rows i of `even` and of `odd`, where they are stored like
// that in one source, as gate and up of experts may be: who wants both reads it, and parts its rows.
// Nothing for others.
std::optional<WeightView> rows_in_turn(const WeightView& even, const WeightView& odd);

// Parts `rows` rows of `bytes` each: the first, third, .. to `even`, the others to `odd`, each after the
// one before.
void part_rows(const std::byte* from, int64_t rows, int64_t bytes, std::byte* even, std::byte* odd);

// Two of some weights whose rows are stored in turn, by their numbers.
struct RowPair {
  size_t even = 0;
  size_t odd = 0;
};
// Of each of the weights the pair that it is in.
std::vector<std::optional<RowPair>> row_pairs(std::span<const WeightView> views);

}  // namespace dunlin

// Writes tensors in other formats than they are stored in, piece by piece: memory is bounded by the
// piece, whatever the tensor's size.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "formats/weight_view.h"

namespace dunlin {

// A tensor to be written.
struct TensorPlan {
  std::string name;            // as it is written
  std::vector<int64_t> shape;  // outermost first, one or two dimensions
  WeightView view;             // its rows, in the order they are written
  Format format;               // they are written in; rows are whole blocks
  // > 0: rows go from canonical order to that of GGUF's query and key matrices, the inverse of
  // RowMap::rope_head_dim: h*D + j is row h*D + (j mod 2)*(D/2) + j div 2 of the view.
  int64_t interleaved_head_dim = 0;
  // How much an error counts, by column; empty: all columns alike.
  std::vector<float> importance = {};

  int64_t elements() const { return view.rows * view.columns; }
  uint64_t bytes() const {  // as it is written
    return static_cast<uint64_t>(view.rows * row_bytes(traits(format), view.columns));
  }
  uint64_t stored_bytes() const { return static_cast<uint64_t>(view.rows * view.bytes_per_row()); }
};

// Takes the bytes of a tensor in order, in pieces; its error ends the writing.
using TakeBytes = std::function<Result<void>(std::span<const std::byte> bytes)>;

// Encodes about a million elements at a time, several rows in parallel. The bytes do not depend on
// the number of threads. Besides them it holds one piece encoded, and per thread 16,384 elements or
// one row as they are stored and as float32.
class TensorStream {
 public:
  explicit TensorStream(ThreadPool& pool);

  // Errors name the tensor: it cannot be read; a value that its format cannot hold, such as NaN.
  // Where the format does not change, bytes are copied as they are.
  Result<void> write(const TensorPlan& plan, const TakeBytes& take);

 private:
  struct Scratch {
    std::vector<std::byte> stored;
    std::vector<float> values;
  };
  struct Piece {
    int64_t first_row, rows, rows_per_task;
  };

  Result<void> encode_piece(const TensorPlan& plan, const Piece& piece);

  ThreadPool& pool_;
  std::vector<Scratch> scratch_;  // of each worker
  std::vector<std::byte> encoded_;
};

}  // namespace dunlin

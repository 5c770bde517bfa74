// Writes tensors in other formats than they are stored in, piece by piece: memory is bounded by the
// piece, whatever the tensor's size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/row_encoder.h"
#include "formats/weight_view.h"

namespace dunlin {

// Elements in a format whose scales lie beside them: a tensor of elements, and one of scales in
// F32, [rows / block, columns / block] rounded up.
struct Scaling {
  Format format;
  int64_t rows = 1;     // of the block that shares a scale
  int64_t columns = 0;  // of it; 0: all
};

// A tensor to be written.
struct TensorPlan {
  std::string name;            // as it is written
  std::vector<int64_t> shape;  // outermost first
  WeightView view;             // its rows, in the order they are written
  Format format;               // they are written in; rows are whole blocks
  // > 0: rows go to the order of GGUF's query and key matrices (RowTarget).
  int64_t interleaved_head_dim = 0;
  // How much an error counts, by column, of experts by expert and column; empty: all columns alike.
  std::vector<float> importance = {};
  std::optional<Scaling> scaling = {};
  bool scales = false;  // this is the tensor of scales, not that of elements
  // Bytes (U8 of safetensors) that are no numbers by themselves, and how many weights are in each; the
  // formats of view and tensor are one of a byte, and nothing is encoded.
  std::optional<int64_t> weights_in_byte = {};

  // Weights.
  int64_t elements() const {
    return scales ? 0 : view.rows * view.columns * weights_in_byte.value_or(1);
  }
  uint64_t bytes() const;  // as it is written
  uint64_t stored_bytes() const { return scales ? 0 : view.stored_bytes(); }
};

// What its rows become; the target refers to the plan.
RowTarget target_of(const TensorPlan& plan);

// Takes the bytes of a tensor in order, in pieces; its error ends the writing.
using TakeBytes = std::function<Result<void>(std::span<const std::byte> bytes)>;

// Pieces of two tensors: 0 is the one of the even rows.
using TakeBytesOfBoth =
    std::function<Result<void>(size_t number, std::span<const std::byte> bytes)>;

// The tensor that holds the rows of both in turn (rows_in_turn()), where they can be written from one
// reading of it.
std::optional<WeightView> source_of_both(const TensorPlan& even, const TensorPlan& odd);

// Encodes about a million elements at a time, several rows in parallel. The bytes do not depend on
// the number of threads. Besides them it holds one piece encoded, and per thread 16,384 elements,
// or the rows that share their scales, as they are stored, as float32 and encoded; sixteen times as
// many of a matrix that is stored the other way round (WeightView::columns_apart).
class TensorStream {
 public:
  explicit TensorStream(ThreadPool& pool);

  // Errors are those of RowEncoder.
  Result<void> write(const TensorPlan& plan, const TakeBytes& take);
  // The same bytes of two tensors from one reading of `both`, their source_of_both(): piece by piece,
  // that of the odd rows before that of the even ones. Holds a piece of each as it is stored, too.
  Result<void> write_both(const TensorPlan& even, const TensorPlan& odd, const WeightView& both,
                          const TakeBytesOfBoth& take);

 private:
  struct Job;
  class Window;
  Result<void> encode_piece(Job& job, int64_t first, int64_t count);
  Result<void> read_both(const WeightView& both, int64_t first, int64_t count, int64_t task_rows,
                         Window& even, Window& odd);

  ThreadPool& pool_;
  std::vector<std::byte> encoded_;
};

}  // namespace dunlin

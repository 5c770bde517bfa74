// What writers of checkpoints share: tensors in their order, those of an earlier run passed over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "checkpoint/resumable_file.h"
#include "convert/tensor_stream.h"

namespace dunlin {

// Called after every piece with the bytes of tensors that are written, of all; what an earlier run
// wrote counts. Its error ends the work, and no file appears.
using ConvertProgress = std::function<Result<void>(uint64_t done, uint64_t total)>;

class TensorProgress {
 public:
  TensorProgress(std::span<const TensorPlan> tensors, const ConvertProgress& progress)
      : progress_(progress) {
    for (const TensorPlan& tensor : tensors) total_ += tensor.bytes();
  }

  uint64_t total() const { return total_; }
  size_t finished() const { return finished_; }    // tensors
  size_t left_over() const { return left_over_; }  // those of them that an earlier run had written

  Result<void> add_bytes(uint64_t bytes) { return progress_(done_ += bytes, total_); }
  Result<void> add_left_over(const TensorPlan& tensor) {
    ++left_over_;
    finish_tensor();
    return add_bytes(tensor.bytes());
  }
  void finish_tensor() { ++finished_; }

 private:
  const ConvertProgress& progress_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  size_t finished_ = 0;
  size_t left_over_ = 0;
};

// The tensor that comes next in `writer`. Nothing of an earlier run is there.
template <typename Writer>
Result<void> write_tensor(const TensorPlan& tensor, Writer& writer, TensorStream& stream,
                          TensorProgress& progress) {
  DUNLIN_RETURN_IF_ERROR(
      stream.write(tensor, [&](std::span<const std::byte> bytes) -> Result<void> {
        DUNLIN_RETURN_IF_ERROR(writer.write(bytes));
        return progress.add_bytes(bytes.size());
      }));
  progress.finish_tensor();
  return {};
}

// `writer`: a GgufWriter or SafetensorsWriter whose header is written and lists these tensors.
template <typename Writer>
Result<void> write_tensors(std::span<const TensorPlan> tensors, Writer& writer,
                           TensorStream& stream, TensorProgress& progress) {
  for (const TensorPlan& tensor : tensors) {
    DUNLIN_ASSIGN_OR_RETURN(const bool there, writer.skip_tensor());
    if (there) {
      DUNLIN_RETURN_IF_ERROR(progress.add_left_over(tensor));
      continue;
    }
    DUNLIN_RETURN_IF_ERROR(write_tensor(tensor, writer, stream, progress));
  }
  return {};
}

// Whether a run with the same input and settings may do better than the one that this error ended:
// after a full disk or an interruption, not after a tensor that cannot be written.
inline bool may_pass_later(const Error& error) {
  return error.kind == ErrorKind::runtime || error.kind == ErrorKind::does_not_fit;
}

}  // namespace dunlin

// Weights as the kernels read them: matrices packed in execution order into one arena, and plain
// float32 arrays for norms, biases and other operands.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/kernels/packed.h"
#include "base/thread_pool.h"

namespace dunlin::cpu {

// One weight of the Program; either form may be absent.
struct HeldWeight {
  std::optional<PackedMatrix> packed;
  const float* plain = nullptr;
  Format format = Format::f32;  // of the checkpoint; decides the arithmetic
};

class Weights {
 public:
  // Reads what the steps that kernels run need. A weight that is missing, unreadable or of another
  // shape is an error that names the tensor, its file and both shapes; a format without a packed
  // form is one too. Reads with pread into a buffer of a megabyte per thread.
  static Result<Weights> load(const Program& program, const std::vector<FusedStep>& steps,
                              const WeightSource& source, const CompileOptions& options,
                              ThreadPool& pool);

  // The same layout without the weights: packed matrices without data, nothing read, nothing
  // reserved.
  static Result<Weights> lay_out(const Program& program, const std::vector<FusedStep>& steps,
                                 const WeightSource& source, const CompileOptions& options);
  // By WeightId.
  const std::vector<uint64_t>& bytes_by_weight() const { return bytes_by_weight_; }
  // Most bytes that load() needs beside them while it reads with so many threads.
  int64_t loading_bytes(int threads) const { return loading_bytes_ * threads; }

  const HeldWeight& of(const Program& program, ValueId id) const {
    return held_[static_cast<size_t>(program.values[static_cast<size_t>(id)].weight)];
  }
  uint64_t bytes() const { return static_cast<uint64_t>(bytes_); }

 private:
  Arena arena_;
  int64_t bytes_ = 0;
  std::vector<uint64_t> bytes_by_weight_;
  int64_t loading_bytes_ = 0;     // of a thread
  std::vector<HeldWeight> held_;  // by WeightId
};

}  // namespace dunlin::cpu

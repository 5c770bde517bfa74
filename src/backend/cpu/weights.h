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

  const HeldWeight& of(const Program& program, ValueId id) const {
    return held_[static_cast<size_t>(program.values[static_cast<size_t>(id)].weight)];
  }
  uint64_t bytes() const { return static_cast<uint64_t>(arena_.bytes()); }

 private:
  Arena arena_;
  std::vector<HeldWeight> held_;  // by WeightId
};

}  // namespace dunlin::cpu

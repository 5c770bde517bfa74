// What the commands that write models share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/tensor_stream.h"
#include "convert/write_gguf.h"

namespace dunlin {

using Conversion = std::function<Result<void>(ThreadPool& pool, const ConvertProgress& progress)>;

// Runs `work` with a bar unless `quiet`. `threads`: 0: one per core. The exit code: 0, or that of
// the signal that ended it.
Result<int> run_conversion(int threads, bool quiet, const Conversion& work);

// Bytes and bits per weight of tensors, as they are stored and as they are written.
struct TensorSizes {
  int64_t elements = 0;
  uint64_t stored = 0, written = 0;  // bytes

  explicit TensorSizes(const std::vector<TensorPlan>& tensors);
  double stored_bits() const { return bits(stored); }
  double written_bits() const { return bits(written); }

 private:
  double bits(uint64_t bytes) const {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
};

// "in   model/   269.1  16.00" below titles, and the same of the output.
std::string sizes_table(const TensorSizes& sizes, const std::string& in, const std::string& out);

}  // namespace dunlin

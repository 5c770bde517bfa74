// What the commands that write models share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "convert/tensor_stream.h"
#include "convert/write_tensors.h"

namespace dunlin {

// The result is the number of tensors that an earlier run had written.
using Conversion = std::function<Result<size_t>(ThreadPool& pool, const ConvertProgress& progress)>;

struct ConversionResult {
  int exit_code = 0;             // that of the signal that ended it
  size_t left_over_tensors = 0;  // as Conversion returns them
  double seconds = 0;
};

// Runs `work` with a bar unless `quiet`. `threads`: 0: one per core.
Result<ConversionResult> run_conversion(int threads, bool quiet, const Conversion& work);

// "21 tensors in 0.1 s", with those of an earlier run.
std::string tensors_line(size_t tensors, const ConversionResult& result);

// Bytes and bits per weight of tensors, as they are stored and as they are written.
struct TensorSizes {
  int64_t elements = 0;
  uint64_t stored = 0, written = 0;  // bytes

  TensorSizes() = default;
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

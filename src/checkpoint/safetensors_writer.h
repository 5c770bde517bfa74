// SafetensorsWriter: a safetensors file, written front to back in bounded memory, that appears under
// its name whole or not at all (huggingface/safetensors, README: Format).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "formats/format.h"

namespace dunlin {

class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::string& path);

  // Shape outermost first; F32, F16 or BF16. Names differ. Data are stored in this order.
  void add_tensor(const std::string& name, std::vector<int64_t> shape, Format format);

  // Writes the header.
  Result<void> begin_data();
  // Bytes of the tensors in their order, in pieces that may end anywhere.
  Result<void> write(std::span<const std::byte> bytes);
  // All bytes of all tensors must have been written.
  Result<void> finish();

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    Format format;
  };

  explicit SafetensorsWriter(AtomicFile file) : file_(std::move(file)) {}

  AtomicFile file_;
  std::vector<Tensor> tensors_ = {};
  uint64_t left_ = 0;  // bytes of data that are still to come
};

}  // namespace dunlin

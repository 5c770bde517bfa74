// SafetensorsWriter: a safetensors file, written front to back in bounded memory, that appears under
// its name whole or not at all (huggingface/safetensors, README: Format), and can be written in several
// runs: its parts (ResumableFile) are the header and the tensors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/resumable_file.h"
#include "formats/format.h"

namespace dunlin {

class SafetensorsWriter {
 public:
  // `key`: as ResumableFile takes it.
  static Result<SafetensorsWriter> create(const std::string& path, const std::string& key = {});

  // Shape outermost first; F32, F16, BF16, I8 or F8. Names differ. Data are stored in this order.
  void add_tensor(const std::string& name, std::vector<int64_t> shape, Format format);
  // The same of bytes that are no numbers by themselves (U8).
  void add_bytes(const std::string& name, std::vector<int64_t> shape);

  // Writes the header. Errors: a file that does not fit the disk (kind does_not_fit).
  Result<void> begin_data();
  // Whether an earlier run has written the next tensor, whose bytes then are not to be given.
  Result<bool> skip_tensor();
  // Bytes of the tensors in their order, in pieces that may end anywhere.
  Result<void> write(std::span<const std::byte> bytes);
  // All bytes of all tensors must have been written.
  Result<void> finish();

  ResumableFile& file() { return file_; }

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    const char* dtype;
    int64_t element_bytes;
    uint64_t end = 0;  // in the data
  };

  explicit SafetensorsWriter(ResumableFile file) : file_(std::move(file)) {}

  ResumableFile file_;
  std::vector<Tensor> tensors_ = {};
  size_t current_ = 0;    // tensor whose bytes come next
  uint64_t written_ = 0;  // bytes of data so far
};

}  // namespace dunlin

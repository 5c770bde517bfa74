// GgufWriter: a GGUF version 3 file, written front to back in bounded memory, that appears under its
// name whole or not at all, and can be written in several runs: its parts (ResumableFile) are the header and
// the tensors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/resumable_file.h"
#include "formats/format.h"

namespace dunlin {

class GgufWriter {
 public:
  // `key`: as ResumableFile takes it.
  static Result<GgufWriter> create(const std::string& path, const std::string& key = {});

  // Keys, in order. A key given twice keeps its place and gets the later value.
  void set_u32(const std::string& key, uint32_t value);
  void set_i32(const std::string& key, int32_t value);
  void set_f32(const std::string& key, float value);
  void set_bool(const std::string& key, bool value);
  void set_text(const std::string& key, std::string_view value);
  void set_i32s(const std::string& key, std::span<const int32_t> values);
  void set_texts(const std::string& key, std::span<const std::string> values);
  // A value as another file stores it (GgufPair): its type id and what follows.
  void set_stored(const std::string& key, std::span<const std::byte> type_and_value);

  // Shape outermost first; rows are whole blocks of the format. Tensors are stored in this order.
  void add_tensor(const std::string& name, std::vector<int64_t> shape, Format format);

  // Writes the header. Errors: a name or shape that GGUF does not allow names the tensor; a file that
  // does not fit the disk (kind does_not_fit).
  Result<void> begin_data();
  // Whether an earlier run has written the next tensor, whose bytes then are not to be given.
  Result<bool> skip_tensor();
  // Bytes of the tensors in their order, in pieces that may end anywhere, across tensors too.
  Result<void> write(std::span<const std::byte> bytes);
  // Bytes of the tensor behind the one that is being written, which come before the last ones of that:
  // of two tensors that are made at the same time. write() goes on after them.
  Result<void> write_ahead(std::span<const std::byte> bytes);
  // All bytes of all tensors must have been written.
  Result<void> finish();

  ResumableFile& file() { return file_; }

 private:
  struct Pair {
    std::string key;
    std::string value;  // type id and value
  };
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    Format format;
    uint64_t bytes = 0;
  };

  GgufWriter(std::string path, ResumableFile file) : path_(path), file_(std::move(file)) {}
  Result<void> check_tensors();
  std::string header() const;
  uint64_t data_bytes() const;
  Result<void> pad();
  Result<void> end_whole_tensors();

  std::string path_;
  ResumableFile file_;
  std::vector<Pair> pairs_;
  std::vector<Tensor> tensors_;
  size_t current_ = 0;        // tensor whose bytes come next
  uint64_t written_ = 0;      // of it
  uint64_t ahead_ = 0;        // of the one behind it
  uint64_t file_offset_ = 0;  // bytes of the file so far
};

}  // namespace dunlin

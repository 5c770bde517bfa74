// BufferedReader: reads the header of a file front to back through a small buffer, and never past a
// limit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"

namespace dunlin {

class BufferedReader {
 public:
  // Reads `source` up to `limit` bytes from its start. The source must outlive the reader.
  BufferedReader(const ByteSource& source, uint64_t limit);

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }  // bytes that can still be read

  // `what` says in the error what was being read.
  Result<void> read(std::span<std::byte> into, std::string_view what);

  template <typename T>
    requires std::is_arithmetic_v<T>
  Result<T> number(std::string_view what) {
    T value{};
    DUNLIN_RETURN_IF_ERROR(read(std::as_writable_bytes(std::span(&value, 1)), what));
    return value;
  }

  // `length` bytes as text; a length beyond the remaining bytes is an error before anything is
  // allocated.
  Result<std::string> text(uint64_t length, std::string_view what);

  // The error for something that needs more bytes than there are.
  Error too_short(std::string_view what) const;

 private:
  const ByteSource& source_;
  uint64_t end_;
  uint64_t position_ = 0;
  std::vector<std::byte> buffer_;
  uint64_t buffer_start_ = 0;
};

}  // namespace dunlin

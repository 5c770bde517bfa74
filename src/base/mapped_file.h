// MappedFile: a regular file as read-only memory. Its pages are the system's cache of the file, shared
// by all processes that map it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace dunlin {

class MappedFile {
 public:
  // The first byte is page-aligned. A file that becomes shorter while it is mapped ends the process
  // (SIGBUS) where it is read. Errors (kind model) name the file.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Begins to read all of it, which is only for a file that memory holds.
  void read_ahead() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace dunlin

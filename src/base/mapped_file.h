// MappedFile: a regular file, or a part of it, as read-only memory. Its pages are the system's cache of
// the file, shared by all processes that map it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class MappedFile {
 public:
  // The first byte is page-aligned. A file that becomes shorter while it is mapped ends the process
  // (SIGBUS) where it is read. Errors (kind model) name the file.
  static Result<MappedFile> open(const std::string& path);
  // `bytes` of an open file from `offset` on, which lies in the page as it does in the file; `path` is for
  // the error.
  static Result<MappedFile> part(const FileDescriptor& file, uint64_t offset, size_t bytes,
                                 const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_ + skipped_, size_ - skipped_}; }

  // Begins to read all of it, which is only for a file that memory holds.
  void read_ahead() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t skipped_ = 0;  // of the first page, before the part
};

}  // namespace dunlin

// SharedMemory: bytes that two processes see, in a file without a name (memfd_create(2)).
#pragma once

#include <cstddef>
#include <span>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin::pjrt {

class SharedMemory {
 public:
  SharedMemory() = default;  // none
  // Of `bytes`, rounded up to pages; there at once, so that no later access to it can fail. Nobody can
  // make it smaller. Error (kind does_not_fit): the system has not that much.
  static Result<SharedMemory> create(size_t bytes);
  // What another process made. Errors (kind runtime): it has not so many bytes, or cannot be mapped.
  static Result<SharedMemory> map(FileDescriptor file, size_t bytes);

  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  size_t size() const { return bytes_.size(); }
  std::span<std::byte> first(size_t bytes) const { return bytes_.first(bytes); }
  int descriptor() const { return file_.get(); }

 private:
  SharedMemory(FileDescriptor file, std::span<std::byte> bytes);

  FileDescriptor file_;
  std::span<std::byte> bytes_;
};

}  // namespace dunlin::pjrt

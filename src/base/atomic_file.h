// AtomicFile: a file that appears under its name whole, or not at all: written to NAME.tmp beside it,
// synchronised, renamed. The temporary is locked while it is written, so that a file has one writer
// at a time; the lock of a writer that was killed is gone, and the next one takes the temporary over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class AtomicFile {
 public:
  // A symbolic link at `path` is followed. Errors: anything but a regular file there, another
  // process that is writing it.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // removes what was not committed

  // Appends. Errors name the path: a full disk, an I/O error.
  Result<void> write(std::span<const std::byte> bytes);
  // Replaces what was written at an offset.
  Result<void> overwrite(uint64_t offset, std::span<const std::byte> bytes);

  // fsync, rename, fsync of the folder. Nothing may be written afterwards.
  Result<void> commit();

 private:
  AtomicFile(std::string path, std::string target) : path_(path), target_(target) {}
  Result<void> open_temporary();

  std::string path_;       // as the user named it
  std::string target_;     // where it leads
  std::string temporary_;  // empty once committed
  FileDescriptor fd_;
};

}  // namespace dunlin

// AtomicFile: a file that appears under its name whole, or not at all: written to a temporary in the
// same folder, synchronised, renamed.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class AtomicFile {
 public:
  // A symbolic link at `path` is followed; anything but a regular file there is an error.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // removes what was not committed

  // Appends. Errors name the path: a full disk, an I/O error.
  Result<void> write(std::span<const std::byte> bytes);

  // fsync, rename, fsync of the folder. Nothing may be written afterwards.
  Result<void> commit();

 private:
  AtomicFile(std::string path, std::string target) : path_(path), target_(target) {}
  Result<void> open_beside_target();

  std::string path_;       // as the user named it
  std::string target_;     // where it leads
  std::string temporary_;  // empty once committed
  FileDescriptor fd_;
};

}  // namespace dunlin

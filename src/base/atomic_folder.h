// AtomicFolder: a folder of files that appears under its name whole, or not at all: filled as
// NAME.tmp beside it, synchronised, renamed. As AtomicFile, for what is more than one file.
#pragma once

#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class AtomicFolder {
 public:
  // Errors: something is at `path` already, other than an empty folder; another process is filling
  // it. What a filler that was killed has left is removed.
  static Result<AtomicFolder> create(const std::string& path);

  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&& other) noexcept;
  ~AtomicFolder();  // removes what was not committed

  // Where the files go until commit().
  const std::string& temporary() const { return temporary_; }

  // The files were synchronised by whoever wrote them. Nothing may be written afterwards.
  Result<void> commit();

 private:
  explicit AtomicFolder(std::string path) : path_(std::move(path)) {}
  Result<void> open_temporary();

  std::string path_;
  std::string temporary_ = {};  // empty once committed
  FileDescriptor fd_;
};

}  // namespace dunlin

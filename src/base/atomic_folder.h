// AtomicFolder: a folder of files that appears under its name whole, or not at all: filled as
// NAME.tmp beside it, synchronised, renamed. As AtomicFile, for what is more than one file. A filler
// with a key goes on with the files that one with the same key has left.
#pragma once

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class AtomicFolder {
 public:
  // Errors: something is at `path` already, other than an empty folder; another process is filling
  // it. What a filler that was ended has left is removed, unless it had the same key, which is one
  // line and not empty.
  static Result<AtomicFolder> create(const std::string& path, const std::string& key = {});

  // Whether the folder at `path` is one that was never finished: NAME.tmp with its mark.
  static bool is_unfinished(const std::string& path);

  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&& other) noexcept;
  ~AtomicFolder();  // removes what was not committed, unless it is to be kept

  // Where the files go until commit().
  const std::string& temporary() const { return temporary_; }
  // Bytes of the files there that an earlier filler with the same key has left.
  uint64_t left_bytes() const { return left_bytes_; }
  // Whether they stay when they are not committed; what was left there stays by itself.
  void keep(bool stays) { keep_ = stays; }

  // The files were synchronised by whoever wrote them. Nothing may be written afterwards.
  Result<void> commit();

 private:
  explicit AtomicFolder(std::string path) : path_(std::move(path)) {}
  Result<void> open_temporary(const std::string& key);
  Result<void> take_over(const std::string& key);

  std::string path_;
  std::string temporary_ = {};  // empty once committed
  uint64_t left_bytes_ = 0;
  bool keep_ = false;
  FileDescriptor fd_;
};

}  // namespace dunlin

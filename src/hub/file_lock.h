// FileLock: flock(2) on a file that stays; huggingface_hub's filelock package locks the same way.
#pragma once

#include <functional>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace dunlin {

class FileLock {
 public:
  // Makes the file and its folders, and waits while another process or thread has the lock.
  // `cancelled` is asked while it waits; then the error is "interrupted". Errors name the path.
  static Result<FileLock> acquire(const std::string& path, const std::function<bool()>& cancelled);

 private:
  explicit FileLock(FileDescriptor fd) : fd_(std::move(fd)) {}
  FileDescriptor fd_;  // closing it gives the lock back
};

// mkdir -p. Errors name the folder.
Result<void> make_folders(const std::string& folder);

// Makes a rename within the folder last.
void synchronise_folder(const std::string& folder);

}  // namespace dunlin

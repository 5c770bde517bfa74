// FileDescriptor: an open file, closed with its owner.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "base/result.h"

namespace dunlin {

// "PATH: No such file or directory": a system call on `path` that failed with `code`, an errno.
inline Error path_error(const std::string& path, int code) {
  return runtime_error(path + ": " + std::strerror(code));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

  // Whether `path` still leads to this file: another writer may have put one in its place since.
  bool is_named(const std::string& path) const {
    struct stat open_file = {};
    struct stat named = {};
    return ::fstat(fd_, &open_file) == 0 && ::stat(path.c_str(), &named) == 0 &&
           open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
  }

 private:
  int fd_;
};

}  // namespace dunlin

#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/file_descriptor.h"

namespace dunlin {

Result<MappedFile> MappedFile::open(const std::string& path) {
  const auto failed = [&path] {
    return model_error(fmt::format("{}: {}", path, std::strerror(errno)));
  };
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info = {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return failed();
  if (!S_ISREG(info.st_mode)) return model_error(path + ": not a regular file");
  MappedFile file;
  if (info.st_size == 0) return file;
  const auto size = static_cast<size_t>(info.st_size);
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return failed();
  // Advice only: large pages where the system has them for files.
  (void)::madvise(mapped, size, MADV_HUGEPAGE);
  file.data_ = static_cast<const std::byte*>(mapped);
  file.size_ = size;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::read_ahead() const {
  // Advice only.
  if (data_ != nullptr) (void)::madvise(const_cast<std::byte*>(data_), size_, MADV_WILLNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace dunlin

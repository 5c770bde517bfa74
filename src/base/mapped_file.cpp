#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace dunlin {
namespace {

Error system_error(const std::string& path) {
  return model_error(fmt::format("{}: {}", path, std::strerror(errno)));
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info = {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return system_error(path);
  if (!S_ISREG(info.st_mode)) return model_error(path + ": not a regular file");
  return part(fd, 0, static_cast<size_t>(info.st_size), path);
}

Result<MappedFile> MappedFile::part(const FileDescriptor& file, uint64_t offset, size_t bytes,
                                    const std::string& path) {
  MappedFile map;
  if (bytes == 0) return map;
  map.skipped_ = static_cast<size_t>(offset % static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  map.size_ = bytes + map.skipped_;
  void* const mapped = ::mmap(nullptr, map.size_, PROT_READ, MAP_SHARED, file.get(),
                              static_cast<off_t>(offset - map.skipped_));
  if (mapped == MAP_FAILED) return system_error(path);
  // Advice only: large pages where the system has them for files.
  (void)::madvise(mapped, map.size_, MADV_HUGEPAGE);
  map.data_ = static_cast<const std::byte*>(mapped);
  return map;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      skipped_(std::exchange(other.skipped_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(skipped_, other.skipped_);
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

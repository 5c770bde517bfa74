#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace dunlin {
namespace {

// Where `path` leads: the target of a symbolic link. What is there must be a regular file, for a
// rename would put one in the place of a device or FIFO.
Result<std::string> writable_target(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return path;
  if (!std::filesystem::is_regular_file(path, error)) {
    return runtime_error(fmt::format("{}: exists and is not a regular file", path));
  }
  return std::filesystem::canonical(path, error).string();
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path, Leftover leftover) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string target, writable_target(path));
  AtomicFile file(path, target);
  DUNLIN_RETURN_IF_ERROR(file.open_temporary(leftover));
  return file;
}

std::string AtomicFile::temporary_of(const std::string& path) {
  return path + ".tmp";
}

// Whoever opens it at the same time sees, once it has the lock, that the name is gone.
void AtomicFile::remove_leftover(const std::string& temporary) {
  const FileDescriptor fd(
      ::open(temporary.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd.get() < 0 || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return;
  if (fd.is_named(temporary)) ::unlink(temporary.c_str());
}

// With the mode the umask gives. O_NONBLOCK: a FIFO of that name must not hang.
Result<void> AtomicFile::open_temporary(Leftover leftover) {
  const std::string name = temporary_of(target_);
  for (int attempt = 0; attempt < 100; ++attempt) {
    FileDescriptor fd(
        ::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666));
    if (fd.get() < 0) return path_error(path_, errno);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) break;
      return path_error(path_, errno);
    }
    if (!fd.is_named(name)) continue;  // a writer that has finished renamed it
    fd_ = std::move(fd);
    temporary_ = name;
    return leftover == Leftover::discard ? truncate(0) : Result<void>();
  }
  return runtime_error(path_ + ": another process is writing it");
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      keep_(other.keep_),
      fd_(std::move(other.fd_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(keep_, other.keep_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty() && !keep_) ::unlink(temporary_.c_str());
}

Result<void> AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return path_error(path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<void> AtomicFile::overwrite(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return path_error(path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> AtomicFile::truncate(uint64_t bytes) {
  const auto end = static_cast<off_t>(bytes);
  if (::ftruncate(fd_.get(), end) != 0 || ::lseek(fd_.get(), end, SEEK_SET) != end)
    return path_error(path_, errno);
  return {};
}

Result<void> AtomicFile::synchronise() {
  while (::fsync(fd_.get()) != 0) {
    if (errno != EINTR) return path_error(path_, errno);
  }
  return {};
}

Result<void> AtomicFile::commit() {
  DUNLIN_RETURN_IF_ERROR(synchronise());
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return path_error(path_, errno);
  temporary_.clear();
  const std::string folder = std::filesystem::path(target_).parent_path().string();
  const FileDescriptor folder_fd(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd.get() >= 0) ::fsync(folder_fd.get());
  return {};
}

}  // namespace dunlin

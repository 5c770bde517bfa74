#include "base/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace dunlin {
namespace {

std::string system_error(int code) {
  return std::strerror(code);
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class FileSource final : public ByteSource {
 public:
  FileSource(FileDescriptor fd, uint64_t size, std::string path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size_ || into.size() > size_ - offset) {
      return model_error(fmt::format("{}: {} bytes at offset {} lie beyond the file's {} bytes",
                                     path_, into.size(), offset, size_));
    }
    while (!into.empty()) {
      const ssize_t count =
          ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return model_error(fmt::format("{}: {}", path_, system_error(errno)));
      if (count == 0)
        return model_error(fmt::format("{}: the file became shorter while it was read", path_));
      into = into.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
    return {};
  }
  uint64_t size() const override { return size_; }
  const std::string& name() const override { return path_; }

 private:
  FileDescriptor fd_;
  uint64_t size_;
  std::string path_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::vector<std::byte> bytes, std::string label)
      : bytes_(std::move(bytes)), label_(std::move(label)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > bytes_.size() || into.size() > bytes_.size() - offset) {
      return model_error(fmt::format("{}: {} bytes at offset {} lie beyond the {} bytes there are",
                                     label_, into.size(), offset, bytes_.size()));
    }
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
    return {};
  }
  uint64_t size() const override { return bytes_.size(); }
  const std::string& name() const override { return label_; }

 private:
  std::vector<std::byte> bytes_;
  std::string label_;
};

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return runtime_error(fmt::format("{}: {}", path, system_error(errno)));
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  if (::fsync(fd) != 0) return runtime_error(fmt::format("{}: {}", path, system_error(errno)));
  return {};
}

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

// A new file with the mode the umask gives, named after `target` so that a rename stays within its
// folder.
Result<FileDescriptor> create_beside(const std::string& target, std::string& name) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    name = fmt::format("{}.{}.{}.tmp", target, ::getpid(), attempt);
    FileDescriptor fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (fd.get() >= 0) return fd;
    if (errno != EEXIST) break;
  }
  return runtime_error(fmt::format("{}: {}", target, system_error(errno)));
}

}  // namespace

Result<std::shared_ptr<const ByteSource>> open_file(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not hang before it is refused.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return model_error(fmt::format("{}: {}", path, system_error(errno)));
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0)
    return model_error(fmt::format("{}: {}", path, system_error(errno)));
  if (!S_ISREG(info.st_mode)) return model_error(fmt::format("{}: not a regular file", path));
  return std::shared_ptr<const ByteSource>(
      std::make_shared<FileSource>(std::move(fd), static_cast<uint64_t>(info.st_size), path));
}

std::shared_ptr<const ByteSource> memory_source(std::vector<std::byte> bytes, std::string label) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(label));
}

Result<std::string> read_text_file(const std::string& path, uint64_t limit) {
  DUNLIN_ASSIGN_OR_RETURN(const auto file, open_file(path));
  if (file->size() > limit) {
    return model_error(
        fmt::format("{}: {} bytes, more than the {} that are accepted", path, file->size(), limit));
  }
  std::string text(file->size(), '\0');
  DUNLIN_RETURN_IF_ERROR(file->read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  DUNLIN_ASSIGN_OR_RETURN(const std::string target, writable_target(path));
  std::string temporary;
  DUNLIN_ASSIGN_OR_RETURN(const FileDescriptor fd, create_beside(target, temporary));
  const auto written = write_all(fd.get(), bytes, path);
  if (!written.ok() || ::rename(temporary.c_str(), target.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return written.ok() ? runtime_error(fmt::format("{}: {}", path, system_error(code)))
                        : written.error();
  }
  const std::string folder = std::filesystem::path(target).parent_path().string();
  const FileDescriptor folder_fd(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd.get() >= 0) ::fsync(folder_fd.get());
  return {};
}

}  // namespace dunlin

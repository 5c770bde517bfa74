#include "base/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/file_descriptor.h"
#include "base/mapped_file.h"

namespace dunlin {
namespace {

ReadCount reads_of_files;

std::string system_error(int code) {
  return std::strerror(code);
}

bool in_one_piece(const ByteLines& lines) {
  return lines.count <= 1 || lines.step == lines.bytes;
}

void count_read(uint64_t bytes) {
  reads_of_files.bytes.fetch_add(bytes, std::memory_order_relaxed);
  reads_of_files.reads.fetch_add(1, std::memory_order_relaxed);
}

class FileSource final : public ByteSource {
 public:
  FileSource(FileDescriptor fd, uint64_t size, std::string path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    DUNLIN_RETURN_IF_ERROR(check_range(offset, into.size()));
    while (!into.empty()) {
      const ssize_t count =
          ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return model_error(fmt::format("{}: {}", path_, system_error(errno)));
      if (count == 0)
        return model_error(fmt::format("{}: the file became shorter while it was read", path_));
      count_read(static_cast<uint64_t>(count));
      into = into.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
    return {};
  }
  uint64_t size() const override { return size_; }
  const std::string& name() const override { return path_; }

  // A file system that maps no files is no error.
  Result<std::optional<HeldBytes>> hold_lines(const ByteLines& lines,
                                              size_t alignment) const override {
    if (!in_one_piece(lines) || lines.offset % alignment != 0) return std::optional<HeldBytes>();
    const uint64_t bytes = uint64_t{lines.count} * lines.bytes;
    DUNLIN_RETURN_IF_ERROR(check_range(lines.offset, bytes));
    auto part = MappedFile::part(fd_, lines.offset, bytes, path_);
    if (!part.ok()) return std::optional<HeldBytes>();
    count_read(bytes);
    const auto map = std::make_shared<const MappedFile>(std::move(part).value());
    return std::optional(HeldBytes{.bytes = map->bytes(), .owner = map});
  }

 private:
  Result<void> check_range(uint64_t offset, uint64_t bytes) const {
    if (offset <= size_ && bytes <= size_ - offset) return {};
    return model_error(fmt::format("{}: {} bytes at offset {} lie beyond the file's {} bytes",
                                   path_, bytes, offset, size_));
  }

  FileDescriptor fd_;
  uint64_t size_;
  std::string path_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::vector<std::byte> bytes, std::string label)
      : bytes_(std::make_shared<const std::vector<std::byte>>(std::move(bytes))),
        label_(std::move(label)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    DUNLIN_RETURN_IF_ERROR(check_range(offset, into.size()));
    if (!into.empty()) std::memcpy(into.data(), bytes_->data() + offset, into.size());
    return {};
  }
  Result<std::optional<HeldBytes>> hold_lines(const ByteLines& lines,
                                              size_t alignment) const override {
    if (!in_one_piece(lines)) return std::optional<HeldBytes>();
    const uint64_t bytes = uint64_t{lines.count} * lines.bytes;
    DUNLIN_RETURN_IF_ERROR(check_range(lines.offset, bytes));
    const auto held = std::span(*bytes_).subspan(lines.offset, bytes);
    if (reinterpret_cast<uintptr_t>(held.data()) % alignment != 0)
      return std::optional<HeldBytes>();
    return std::optional(HeldBytes{.bytes = held, .owner = bytes_});
  }
  uint64_t size() const override { return bytes_->size(); }
  const std::string& name() const override { return label_; }

 private:
  Result<void> check_range(uint64_t offset, uint64_t bytes) const {
    if (offset <= size() && bytes <= size() - offset) return {};
    return model_error(fmt::format("{}: {} bytes at offset {} lie beyond the {} bytes there are",
                                   label_, bytes, offset, size()));
  }

  std::shared_ptr<const std::vector<std::byte>> bytes_;
  std::string label_;
};

}  // namespace

Result<std::optional<HeldBytes>> ByteSource::hold_lines(const ByteLines& /*lines*/,
                                                        size_t /*alignment*/) const {
  return std::optional<HeldBytes>();
}

Result<void> ByteSource::read_lines(const ByteLines& lines, std::byte* into,
                                    size_t into_step) const {
  if (lines.step == lines.bytes && into_step == lines.bytes)
    return read_at(lines.offset, {into, lines.count * lines.bytes});
  for (size_t i = 0; i < lines.count; ++i) {
    DUNLIN_RETURN_IF_ERROR(
        read_at(lines.offset + i * lines.step, {into + i * into_step, lines.bytes}));
  }
  return {};
}

const ReadCount& file_reads() {
  return reads_of_files;
}

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
  DUNLIN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  DUNLIN_RETURN_IF_ERROR(file.write(bytes));
  return file.commit();
}

}  // namespace dunlin

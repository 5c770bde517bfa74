#include "hub/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text_checks.h"
#include "hub/checksum.h"
#include "hub/file_lock.h"

namespace dunlin {
namespace {

constexpr size_t kPiece = 1 << 20;

// The file while it arrives. Bytes are written at their own offsets: where flock(2) is not honoured,
// as on some network file systems, two downloads of one file write the same bytes to the same places.
class IncompleteFile final : public HttpBody {
 public:
  IncompleteFile(const Download& what, const BytesArrived& arrived)
      : what_(what), arrived_(arrived) {}

  // Takes over what is there, as far as it can be part of the file.
  Result<void> open() {
    fd_ = FileDescriptor(
        ::open(what_.incomplete.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    struct stat status = {};
    if (fd_.get() < 0 || ::fstat(fd_.get(), &status) != 0)
      return path_error(what_.incomplete, errno);
    if (!S_ISREG(status.st_mode))
      return runtime_error(what_.incomplete + ": is in the way and no regular file");
    DUNLIN_RETURN_IF_ERROR(restart_checksum());
    const auto there = static_cast<uint64_t>(status.st_size);
    if (there > what_.file.size) return truncate();
    std::vector<std::byte> piece(kPiece);
    while (offset_ < there) {
      const ssize_t count =
          ::pread(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(offset_));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return path_error(what_.incomplete, count < 0 ? errno : EIO);
      add(std::span(piece).first(static_cast<size_t>(count)));
    }
    resumed_ = offset_ > 0;
    return {};
  }

  uint64_t offset() const override { return offset_; }
  bool incomplete() const override { return offset_ < what_.file.size; }
  bool resumed() const { return resumed_; }

  Result<void> begin(uint64_t offset) override {
    if (offset == offset_) return {};
    return restart();
  }

  Result<void> write(std::span<const std::byte> bytes) override {
    if (bytes.size() > what_.file.size - offset_) {
      return network_error(
          fmt::format("the server sends more than the {} bytes of the file", what_.file.size));
    }
    for (auto left = bytes; !left.empty();) {
      const ssize_t count = ::pwrite(fd_.get(), left.data(), left.size(),
                                     static_cast<off_t>(offset_ + (bytes.size() - left.size())));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return path_error(what_.incomplete, errno);
      left = left.subspan(static_cast<size_t>(count));
    }
    add(bytes);
    return {};
  }

  // Nothing of what is here is of use.
  Result<void> restart() {
    DUNLIN_RETURN_IF_ERROR(truncate());
    arrived_(-static_cast<int64_t>(offset_));
    offset_ = 0;
    resumed_ = false;
    return restart_checksum();
  }

  std::string checksum() { return checksum_->finish(); }

  // fsync, rename.
  Result<void> move_to_target() {
    if (::fsync(fd_.get()) != 0) return path_error(what_.incomplete, errno);
    if (::rename(what_.incomplete.c_str(), what_.target.c_str()) != 0)
      return path_error(what_.target, errno);
    synchronise_folder(std::filesystem::path(what_.target).parent_path().string());
    return {};
  }

 private:
  Result<void> restart_checksum() {
    DUNLIN_ASSIGN_OR_RETURN(checksum_,
                            Checksum::create(*checksum_kind(what_.file.etag), what_.file.size));
    return {};
  }
  Result<void> truncate() {
    if (::ftruncate(fd_.get(), 0) != 0) return path_error(what_.incomplete, errno);
    return {};
  }
  void add(std::span<const std::byte> bytes) {
    checksum_->update(bytes);
    offset_ += bytes.size();
    arrived_(static_cast<int64_t>(bytes.size()));
  }

  const Download& what_;
  const BytesArrived& arrived_;
  FileDescriptor fd_;
  std::optional<Checksum> checksum_ = {};
  uint64_t offset_ = 0;
  bool resumed_ = false;  // some of it is of an earlier download
};

Result<void> fetch(HttpClient& client, const Download& what,
                   const std::function<Error(const HttpResponse&)>& refused, IncompleteFile& file) {
  if (!file.incomplete()) return {};
  DUNLIN_ASSIGN_OR_RETURN(const HttpResponse response,
                          client.send({.url = what.url, .token = what.token}, file));
  if (!response.ok()) return refused(response);
  return {};
}

}  // namespace

Result<void> download(HttpClient& client, const Download& what,
                      const std::function<Error(const HttpResponse&)>& refused,
                      const std::function<bool()>& cancelled, const BytesArrived& arrived) {
  DUNLIN_CHECK(checksum_kind(what.file.etag).has_value(), "a download without a checksum");
  DUNLIN_ASSIGN_OR_RETURN(const FileLock lock, FileLock::acquire(what.lock, cancelled));
  if (what.present()) {
    arrived(static_cast<int64_t>(what.file.size));
    return {};
  }
  for (const std::string& path : {what.incomplete, what.target})
    DUNLIN_RETURN_IF_ERROR(make_folders(std::filesystem::path(path).parent_path().string()));
  IncompleteFile file(what, arrived);
  DUNLIN_RETURN_IF_ERROR(file.open());
  for (;;) {
    DUNLIN_RETURN_IF_ERROR(fetch(client, what, refused, file));
    const std::string sum = file.checksum();
    if (sum == what.file.etag) return file.move_to_target();
    const bool again = file.resumed();
    DUNLIN_RETURN_IF_ERROR(file.restart());
    if (!again) {
      ::unlink(what.incomplete.c_str());
      return network_error(fmt::format(
          "{}: damaged on its way: the checksum is {}, the hub has {}; nothing of it is kept",
          what.url, sum, what.file.etag));
    }
    log_warning(fmt::format("{}: what an earlier download left is damaged; fetching all of it",
                            quoted_text(what.file.name)));
  }
}

}  // namespace dunlin

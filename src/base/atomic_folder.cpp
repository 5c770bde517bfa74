#include "base/atomic_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

namespace dunlin {
namespace {

namespace fs = std::filesystem;

// A folder that marks itself as a filler's, so that nothing else of that name is ever removed.
constexpr const char* kMark = ".dunlin-unfinished";
constexpr const char* kSuffix = ".tmp";

// All but the mark, which goes last: a removal that is interrupted is taken up again.
void remove_files(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename() != kMark) fs::remove_all(entry.path(), ignored);
  }
}

uint64_t bytes_of_files(const std::string& folder) {
  uint64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename() != kMark && entry.is_regular_file(ignored))
      bytes += entry.file_size(ignored);
  }
  return bytes;
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace

Result<AtomicFolder> AtomicFolder::create(const std::string& path, const std::string& key) {
  AtomicFolder folder(without_slash(path));
  std::error_code error;
  const auto type = fs::symlink_status(folder.path_, error).type();
  const bool empty = type == fs::file_type::directory && fs::is_empty(folder.path_, error);
  if (!empty && type != fs::file_type::not_found)
    return usage_error(folder.path_ + ": is there already");
  DUNLIN_RETURN_IF_ERROR(folder.open_temporary(key));
  return folder;
}

// A folder that was renamed and not yet rid of its mark is whole.
bool AtomicFolder::is_unfinished(const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::canonical(path, error);
  return folder.extension() == kSuffix && fs::exists(folder / kMark, error);
}

Result<void> AtomicFolder::open_temporary(const std::string& key) {
  const std::string name = path_ + kSuffix;
  const bool made = ::mkdir(name.c_str(), 0777) == 0;
  if (!made && errno != EEXIST) return path_error(path_, errno);
  fd_ = FileDescriptor(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (fd_.get() < 0) return path_error(name, errno);
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return runtime_error(path_ + ": another process is writing it");
    return path_error(path_, errno);
  }
  std::error_code error;
  const bool marked = fs::exists(name + "/" + kMark, error);
  if (!made && !marked && !fs::is_empty(name, error))
    return runtime_error(fmt::format("{}: is in the way; remove it first", name));
  temporary_ = name;
  return take_over(key);
}

Result<void> AtomicFolder::take_over(const std::string& key) {
  const std::string mark_path = temporary_ + "/" + kMark;
  std::string left_key;
  std::ifstream left_mark(mark_path);
  std::getline(left_mark, left_key);
  if (!key.empty() && left_key == key) {
    left_bytes_ = bytes_of_files(temporary_);
    keep_ = left_bytes_ > 0;
    return {};
  }
  remove_files(temporary_);
  const FileDescriptor mark(
      ::open(mark_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (mark.get() < 0) return path_error(path_, errno);
  errno = ENOSPC;  // of a write that is cut short
  const auto size = static_cast<ssize_t>(key.size());
  if (::write(mark.get(), key.data(), key.size()) != size) return path_error(path_, errno);
  return {};
}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      left_bytes_(other.left_bytes_),
      keep_(other.keep_),
      fd_(std::move(other.fd_)) {}

AtomicFolder& AtomicFolder::operator=(AtomicFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(left_bytes_, other.left_bytes_);
  std::swap(keep_, other.keep_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFolder::~AtomicFolder() {
  if (temporary_.empty() || keep_) return;
  remove_files(temporary_);
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

Result<void> AtomicFolder::commit() {
  if (::fsync(fd_.get()) != 0) return path_error(path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return path_error(path_, errno);
  temporary_.clear();
  // Only now: a temporary folder that is not empty always has its mark.
  ::unlink((path_ + "/" + kMark).c_str());
  ::fsync(fd_.get());
  const std::string parent = fs::path(path_).parent_path().string();
  const FileDescriptor parent_fd(
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent_fd.get() >= 0) ::fsync(parent_fd.get());
  return {};
}

}  // namespace dunlin

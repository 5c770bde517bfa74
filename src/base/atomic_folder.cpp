#include "base/atomic_folder.h"

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

namespace fs = std::filesystem;

Error path_error(const std::string& path, int code) {
  return runtime_error(fmt::format("{}: {}", path, std::strerror(code)));
}

// A folder that marks itself as a filler's, so that nothing else of that name is ever removed.
constexpr const char* kMark = ".dunlin-unfinished";

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace

Result<AtomicFolder> AtomicFolder::create(const std::string& path) {
  AtomicFolder folder(without_slash(path));
  std::error_code error;
  const auto type = fs::symlink_status(folder.path_, error).type();
  const bool empty = type == fs::file_type::directory && fs::is_empty(folder.path_, error);
  if (!empty && type != fs::file_type::not_found)
    return usage_error(folder.path_ + ": is there already");
  DUNLIN_RETURN_IF_ERROR(folder.open_temporary());
  return folder;
}

Result<void> AtomicFolder::open_temporary() {
  const std::string name = path_ + ".tmp";
  const bool made = ::mkdir(name.c_str(), 0777) == 0;
  if (!made && errno != EEXIST) return path_error(path_, errno);
  fd_ = FileDescriptor(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (fd_.get() < 0) return path_error(name, errno);
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return runtime_error(path_ + ": another process is writing it");
    return path_error(path_, errno);
  }
  std::error_code error;
  if (!made && !fs::is_empty(name, error)) {
    if (!fs::exists(name + "/" + kMark, error))
      return runtime_error(fmt::format("{}: is in the way; remove it first", name));
    // The mark goes last: a removal that is interrupted is taken up again.
    for (const auto& entry : fs::directory_iterator(name, error)) {
      if (entry.path().filename() != kMark) fs::remove(entry.path(), error);
    }
  }
  const FileDescriptor mark(
      ::open((name + "/" + kMark).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (mark.get() < 0) return path_error(path_, errno);
  temporary_ = name;
  return {};
}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::move(other.fd_)) {}

AtomicFolder& AtomicFolder::operator=(AtomicFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
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

#include "hub/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

namespace dunlin {

Result<void> make_folders(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return path_error(folder, error.value());
  return {};
}

void synchronise_folder(const std::string& folder) {
  const FileDescriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) ::fsync(fd.get());
}

Result<FileLock> FileLock::acquire(const std::string& path,
                                   const std::function<bool()>& cancelled) {
  constexpr std::chrono::milliseconds kBetween{50};
  DUNLIN_RETURN_IF_ERROR(make_folders(std::filesystem::path(path).parent_path().string()));
  for (;;) {
    FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (fd.get() < 0) return path_error(path, errno);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      if (fd.is_named(path)) return FileLock(std::move(fd));
      continue;  // whoever had it has removed it
    }
    if (errno != EWOULDBLOCK && errno != EINTR) return path_error(path, errno);
    if (cancelled && cancelled()) return runtime_error("interrupted");
    std::this_thread::sleep_for(kBetween);
  }
}

}  // namespace dunlin

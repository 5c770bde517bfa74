// The calls are replaced for the whole program: a name that the executable defines goes before that of
// the C library.
#include "support/faulty_disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

namespace dunlin {
namespace {

std::atomic<bool> active = false;
std::atomic<int64_t> call_count = 0;
DiskFaults current;
std::mutex room_mutex;  // of current.room

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool is_watched(int fd) {
  struct stat info = {};
  return active && fd > STDERR_FILENO && ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

void kill_now() {
  ::raise(SIGKILL);
}

// Counts the call; true: it fails.
bool fails(const char* name) {
  if (!active) return false;
  if (current.before) current.before(name);
  const int64_t call = call_count++;
  if (call == current.kill_at) kill_now();
  if (call != current.fail_at) return false;
  errno = EIO;
  return true;
}

// `put(bytes)` writes so many.
template <typename Put>
ssize_t spoilt_write(int fd, size_t size, Put put) {
  if (!is_watched(fd)) return put(size);
  if (current.before) current.before("write");
  const int64_t call = call_count++;
  if (call == current.kill_at || call == current.fail_at) {
    if (size > 1 && put(size / 2) < 0) return -1;
    if (call == current.kill_at) kill_now();
    errno = EIO;
    return -1;
  }
  const std::lock_guard lock(room_mutex);
  if (current.room < 0) return put(size);
  if (current.room == 0 && size > 0) {
    errno = ENOSPC;
    return -1;
  }
  const ssize_t count = put(std::min(size, static_cast<size_t>(current.room)));
  current.room -= std::max<ssize_t>(0, count);
  return count;
}

}  // namespace

FaultyDisk::FaultyDisk(const DiskFaults& faults) {
  current = faults;
  call_count = 0;
  active = true;
}

FaultyDisk::~FaultyDisk() {
  active = false;
}

int64_t FaultyDisk::calls() const {
  return call_count;
}

Ended run_killed_at(int64_t call, const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const FaultyDisk disk({.kill_at = call});
    ::_exit(work() ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return Ended::killed;
  return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? Ended::done : Ended::failed;
}

}  // namespace dunlin

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  static auto* const real = dunlin::next<ssize_t(int, const void*, size_t)>("write");
  return dunlin::spoilt_write(fd, size, [&](size_t count) { return real(fd, data, count); });
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  static auto* const real = dunlin::next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return dunlin::spoilt_write(fd, size,
                              [&](size_t count) { return real(fd, data, count, offset); });
}

// No test lives through a loss of power, so there is nothing to wait for.
int fsync(int /*fd*/) {
  return dunlin::fails("fsync") ? -1 : 0;
}

int ftruncate(int fd, off_t length) noexcept {
  static auto* const real = dunlin::next<int(int, off_t)>("ftruncate");
  return dunlin::fails("ftruncate") ? -1 : real(fd, length);
}

int rename(const char* from, const char* to) noexcept {
  static auto* const real = dunlin::next<int(const char*, const char*)>("rename");
  return dunlin::fails("rename") ? -1 : real(from, to);
}

int unlink(const char* path) noexcept {
  static auto* const real = dunlin::next<int(const char*)>("unlink");
  return dunlin::fails("unlink") ? -1 : real(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const real = dunlin::next<int(const char*, mode_t)>("mkdir");
  return dunlin::fails("mkdir") ? -1 : real(path, mode);
}

int symlink(const char* target, const char* path) noexcept {
  static auto* const real = dunlin::next<int(const char*, const char*)>("symlink");
  return dunlin::fails("symlink") ? -1 : real(target, path);
}

int statvfs(const char* path, struct statvfs* system) noexcept {
  static auto* const real = dunlin::next<int(const char*, struct statvfs*)>("statvfs");
  const int result = real(path, system);
  if (result == 0 && dunlin::active && dunlin::current.free_bytes >= 0) {
    system->f_frsize = 1;
    system->f_bavail = static_cast<fsblkcnt_t>(dunlin::current.free_bytes);
  }
  return result;
}

}  // extern "C"

// A disk that fails: the calls by which this process changes regular files and folders (write, pwrite,
// fsync, ftruncate, rename, unlink, mkdir, symlink) are counted, and can be spoilt, whichever thread
// makes them. stdin, stdout and stderr are left alone. In a program with this file fsync() waits for
// nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace dunlin {

// -1: never.
struct DiskFaults {
  int64_t room = -1;     // bytes that fit; a write beyond is cut short, the next one is ENOSPC
  int64_t fail_at = -1;  // this call, counted from 0, fails with EIO; a write after half its bytes
  int64_t kill_at = -1;  // SIGKILL ends the process in this call; a write after half its bytes
  int64_t free_bytes = -1;  // that statvfs() tells
  // Hears of each call, "fsync", before it is made, from the thread that makes it.
  std::function<void(std::string_view call)> before = {};
};

// Spoils from its construction to its end. One at a time.
class FaultyDisk {
 public:
  explicit FaultyDisk(const DiskFaults& faults = {});
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  int64_t calls() const;
};

// How a process of its own ended that did `work`, which returns whether it succeeded.
enum class Ended { done, failed, killed };

// SIGKILL ends it in a call of the disk.
Ended run_killed_at(int64_t call, const std::function<bool()>& work);

}  // namespace dunlin

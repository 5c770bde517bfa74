#include "base/disk_space.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

namespace dunlin {

std::optional<uint64_t> free_disk_bytes(const std::string& where) {
  struct statvfs system = {};
  if (::statvfs(where.c_str(), &system) != 0 || system.f_blocks == 0) return std::nullopt;
  return uint64_t{system.f_bavail} * system.f_frsize;
}

Result<void> check_disk_space(const std::string& path, const std::string& where, uint64_t bytes) {
  const std::optional<uint64_t> free = free_disk_bytes(where);
  if (!free || bytes <= *free) return {};
  const auto megabytes = [](uint64_t count) { return static_cast<double>(count) / 1e6; };
  return Error{
      ErrorKind::does_not_fit,
      fmt::format("{}: {:.1f} MB are still to be written, but the disk has {:.1f} MB free: "
                  "{:.1f} MB too few",
                  path, megabytes(bytes), megabytes(*free), megabytes(bytes - *free))};
}

}  // namespace dunlin

// Control groups: /proc/self/cgroup names the group of this process in each hierarchy, and its files lie
// below /sys/fs/cgroup. In a container the name may be the host's while only the container's own group is
// mounted: then the folder is not there, and that of the mount is the group's.
#include "base/system_memory.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kUnknown = UINT64_MAX;
// Version 1 writes "no limit" as the largest multiple of a page in 63 bits.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

// The names of a version's files and of the fields of memory.stat that count cached files, those of the
// groups below included.
struct Version {
  const char* limit;
  const char* used;
  const char* inactive_file;
  const char* active_file;
};
constexpr Version kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                               "total_inactive_file", "total_active_file"};
constexpr Version kVersion2 = {"memory.max", "memory.current", "inactive_file", "active_file"};

// Nothing: there is no such file, or it names no limit.
std::optional<uint64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number) || number >= kNoLimit) return std::nullopt;
  return number;
}

// The number behind a name, in lines of both.
std::optional<uint64_t> field_of(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const size_t digits = line.find_first_of("0123456789", name.size());
    const bool whole = line.find_first_not_of(" \t", name.size()) == digits;
    if (whole && digits != std::string::npos) return std::stoull(line.substr(digits, 18));
  }
  return std::nullopt;
}

struct Group {
  fs::path folder;
  const Version* version;
};

// The group at `path` of a hierarchy and those around it.
void add_groups(const fs::path& root, const std::string& path, const Version& version,
                std::vector<Group>& groups) {
  fs::path folder = root;
  groups.push_back({folder, &version});
  const fs::path below = fs::path(path).relative_path();
  for (const fs::path& part : below) {
    if (part == "..") return;  // a group outside of what is mounted here
    folder /= part;
    groups.push_back({folder, &version});
  }
}

// Lines of /proc/self/cgroup are NUMBER:CONTROLLERS:PATH; version 2 is number 0 without controllers.
std::vector<Group> groups_of(const SystemFiles& files) {
  std::vector<Group> groups;
  std::ifstream lines(files.proc + "/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string path = line.substr(second + 1);
    std::string controllers(1, ',');
    controllers.append(line, first + 1, second - first - 1) += ',';
    if (line.starts_with("0::")) add_groups(files.cgroup, path, kVersion2, groups);
    if (controllers.find(",memory,") != std::string::npos)
      add_groups(files.cgroup + "/memory", path, kVersion1, groups);
  }
  return groups;
}

// Memory and swap that a group allows; kUnknown: as much as there is.
uint64_t limit_with_swap(const Group& group, uint64_t machine_swap) {
  const auto limit = number_in(group.folder / group.version->limit);
  if (!limit) return kUnknown;
  if (group.version == &kVersion1) {
    const auto both = number_in(group.folder / "memory.memsw.limit_in_bytes");
    return both.value_or(*limit + machine_swap);
  }
  const auto swap = number_in(group.folder / "memory.swap.max");
  return *limit + std::min(swap.value_or(machine_swap), machine_swap);
}

uint64_t left_of(const Group& group) {
  const auto limit = number_in(group.folder / group.version->limit);
  if (!limit) return kUnknown;
  const uint64_t used = number_in(group.folder / group.version->used).value_or(0);
  const fs::path statistics = group.folder / "memory.stat";
  const uint64_t cached = field_of(statistics, group.version->inactive_file).value_or(0) +
                          field_of(statistics, group.version->active_file).value_or(0);
  const uint64_t held = used - std::min(used, cached);
  return *limit - std::min(*limit, held);
}

// Of a limit of this process; `field` of /proc/self/status counts what it is for, in kB.
uint64_t left_of(int resource, const SystemFiles& files, std::string_view field) {
  rlimit limit = {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnknown;
  const uint64_t used = field_of(files.proc + "/self/status", field).value_or(0) * 1024;
  return limit.rlim_cur - std::min<uint64_t>(limit.rlim_cur, used);
}

}  // namespace

uint64_t system_memory(const SystemFiles& files) {
  struct sysinfo info = {};
  uint64_t least = kUnknown;
  uint64_t swap = 0;
  if (::sysinfo(&info) == 0 && info.totalram != 0) {
    swap = uint64_t{info.totalswap} * info.mem_unit;
    least = uint64_t{info.totalram} * info.mem_unit + swap;
  }
  for (const Group& group : groups_of(files)) least = std::min(least, limit_with_swap(group, swap));
  return least;
}

uint64_t available_memory(const SystemFiles& files) {
  const auto free_kib = field_of(files.proc + "/meminfo", "MemAvailable:");
  uint64_t least = free_kib ? *free_kib * 1024 : kUnknown;
  for (const Group& group : groups_of(files)) least = std::min(least, left_of(group));
  least = std::min(least, left_of(RLIMIT_AS, files, "VmSize:"));
  return std::min(least, left_of(RLIMIT_DATA, files, "VmData:"));
}

}  // namespace dunlin

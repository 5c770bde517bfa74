// CPU features from cpuid, XCR0, arch_prctl, the affinity mask and the control group.
#include "base/cpu_features.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>

namespace dunlin {

namespace {

constexpr std::array<const char*, kIsas> kIsaNames = {"scalar", "avx2", "avx512", "amx"};

enum Register : uint8_t { eax, ebx, ecx, edx };

struct Flag {
  const char* name;
  unsigned leaf;
  unsigned subleaf;
  Register where;
  unsigned bit;
  uint64_t state;  // XCR0 bits that must be on: what the operating system saves
};

constexpr uint64_t kAvxState = 0x6;       // SSE, AVX
constexpr uint64_t kAvx512State = 0xe6;   // and opmask, upper ZMM
constexpr uint64_t kTileState = 0x600e6;  // and tile configuration, tile data

// Intel 64 manual, volume 2, CPUID.
constexpr Flag kFlags[] = {
    {"avx", 1, 0, ecx, 28, kAvxState},
    {"fma", 1, 0, ecx, 12, kAvxState},
    {"f16c", 1, 0, ecx, 29, kAvxState},
    {"avx2", 7, 0, ebx, 5, kAvxState},
    {"avx_vnni", 7, 1, eax, 4, kAvxState},
    {"avx512f", 7, 0, ebx, 16, kAvx512State},
    {"avx512dq", 7, 0, ebx, 17, kAvx512State},
    {"avx512bw", 7, 0, ebx, 30, kAvx512State},
    {"avx512vl", 7, 0, ebx, 31, kAvx512State},
    {"avx512vbmi", 7, 0, ecx, 1, kAvx512State},
    {"avx512_vnni", 7, 0, ecx, 11, kAvx512State},
    {"avx512_bf16", 7, 1, eax, 5, kAvx512State},
    {"amx_bf16", 7, 0, edx, 22, kTileState},
    {"amx_tile", 7, 0, edx, 24, kTileState},
    {"amx_int8", 7, 0, edx, 25, kTileState},
};

uint64_t enabled_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1u)) return 0;  // OSXSAVE
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Linux grants the 8 KB of tile data on request (Documentation/arch/x86/xstate.rst): to all threads
// of the process, those that run already included. Empty, or why it did not.
std::string request_tile_data() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureTileData = 18;
  if (syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0) return "";
  if (errno == ENOSPC) return "a thread's alternate signal stack is too small to save them";
  return std::strerror(errno);
}

std::vector<std::string> find_flags() {
  const uint64_t state = enabled_state();
  std::vector<std::string> found;
  for (const Flag& flag : kFlags) {
    unsigned registers[4] = {};
    if ((state & flag.state) != flag.state) continue;
    if (!__get_cpuid_count(flag.leaf, flag.subleaf, &registers[0], &registers[1], &registers[2],
                           &registers[3]))
      continue;
    if (registers[flag.where] >> flag.bit & 1u) found.emplace_back(flag.name);
  }
  return found;
}

std::string brand_string() {
  unsigned words[12] = {};
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3)) return "unknown";
  }
  char text[sizeof(words) + 1] = {};
  std::memcpy(text, words, sizeof(words));
  const std::string brand = text;
  const size_t begin = brand.find_first_not_of(' ');
  if (begin == std::string::npos) return "unknown";
  return brand.substr(begin, brand.find_last_not_of(' ') - begin + 1);
}

int affinity_cores() {
  for (int cpus = 1024; cpus <= 1 << 20;
       cpus *= 2) {  // the kernel refuses a mask shorter than its own
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    const bool too_short = !ok && errno == EINVAL;
    const int count = ok ? CPU_COUNT_S(bytes, set) : 1;
    CPU_FREE(set);
    if (!too_short) return std::max(count, 1);
  }
  return 1;
}

// The first `count` numbers of a file; "max" and anything unreadable give nothing.
std::optional<std::vector<double>> read_numbers(const std::string& path, size_t count) {
  std::ifstream file(path);
  std::vector<double> numbers(count);
  for (double& number : numbers) {
    if (!(file >> number)) return std::nullopt;
  }
  return numbers;
}

std::optional<double> quota_of(const std::string& folder, bool version2) {
  double quota = -1;
  double period = 0;
  if (version2) {
    const auto numbers = read_numbers(folder + "/cpu.max", 2);
    if (!numbers) return std::nullopt;
    quota = (*numbers)[0];
    period = (*numbers)[1];
  } else {
    const auto quota_us = read_numbers(folder + "/cpu.cfs_quota_us", 1);
    const auto period_us = read_numbers(folder + "/cpu.cfs_period_us", 1);
    if (!quota_us || !period_us) return std::nullopt;
    quota = quota_us->front();
    period = period_us->front();
  }
  if (quota <= 0 || period <= 0) return std::nullopt;  // -1: no limit
  return quota / period;
}

// The tightest quota from `path` up to the mount point itself.
std::optional<double> quota_up(const std::string& mount, std::string path, bool version2) {
  std::optional<double> tightest;
  while (true) {
    const auto quota = quota_of(mount + path, version2);
    if (quota && (!tightest || *quota < *tightest)) tightest = quota;
    if (path.empty()) return tightest;
    path.resize(path.find_last_of('/'));
  }
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const size_t comma = controllers.find(',');
    if (controllers.substr(0, comma) == "cpu") return true;
    if (comma == std::string_view::npos) return false;
    controllers.remove_prefix(comma + 1);
  }
  return false;
}

std::string own_cgroups() {
  std::ifstream file("/proc/self/cgroup");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

CpuFeatures detect() {
  CpuFeatures features;
  features.model = brand_string();
  features.flags = find_flags();
  features.best = best_isa(features.flags);
  if (features.best == Isa::amx) {
    features.tile_refusal = request_tile_data();
    if (!features.tile_refusal.empty()) features.best = Isa::avx512;
  }
  features.cores = affinity_cores();
  features.quota = cgroup_cpu_quota(own_cgroups(), "/sys/fs/cgroup");
  if (features.quota) {
    const auto whole = static_cast<int>(std::min(*features.quota, 1e6));
    features.cores = std::clamp(whole, 1, features.cores);
  }
  return features;
}

}  // namespace

const char* isa_name(Isa isa) {
  return kIsaNames[static_cast<size_t>(isa)];
}

std::optional<Isa> parse_isa(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (size_t i = 0; i < kIsaNames.size(); ++i) {
    if (lower == kIsaNames[i]) return static_cast<Isa>(i);
  }
  return std::nullopt;
}

std::span<const std::string_view> required_flags(Isa isa) {
  static constexpr std::string_view kAvx2[] = {"avx2", "fma", "f16c"};
  static constexpr std::string_view kAvx512[] = {"avx512f", "avx512bw", "avx512dq", "avx512vl",
                                                 "avx512_vnni"};
  static constexpr std::string_view kAmx[] = {"amx_tile", "amx_int8", "amx_bf16"};
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
      return kAvx2;
    case Isa::avx512:
      return kAvx512;
    case Isa::amx:
      return kAmx;
  }
  return {};
}

Isa best_isa(const std::vector<std::string>& flags) {
  const auto found = [&flags](std::string_view flag) {
    return std::ranges::find(flags, flag) != flags.end();
  };
  int best = 0;
  while (best + 1 < kIsas &&
         std::ranges::all_of(required_flags(static_cast<Isa>(best + 1)), found)) {
    ++best;
  }
  return static_cast<Isa>(best);
}

std::optional<double> cgroup_cpu_quota(std::string_view membership, const std::string& mount) {
  std::optional<double> tightest;
  const auto note = [&tightest](std::optional<double> quota) {
    if (quota && (!tightest || *quota < *tightest)) tightest = quota;
  };
  std::istringstream lines{std::string(membership)};
  for (std::string line; std::getline(lines, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.size() <= second + 1 || line[second + 1] != '/')
      continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      note(quota_up(mount, path, true));
    } else if (lists_cpu(controllers)) {
      // The hierarchy is mounted under its controllers' names; inside a container its root is the
      // group itself.
      note(quota_up(mount + "/" + controllers, path, false));
      note(quota_up(mount + "/cpu", path, false));
    }
  }
  return tightest;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

}  // namespace dunlin

// Instruction sets and what each includes; cores from the affinity mask and the control group.
// processor_x86_64.cpp and processor_aarch64.cpp ask the processor.
#include "base/cpu_features.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/ascii.h"
#include "base/detect_processor.h"

namespace dunlin {

namespace {

constexpr std::array<const char*, kIsas> kIsaNames = {"scalar", "avx2",    "avx512", "amx",
                                                      "neon",   "dotprod", "i8mm"};

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
  detect_processor(features);
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
  for (size_t i = 0; i < kIsaNames.size(); ++i) {
    if (same_letters(name, kIsaNames[i])) return static_cast<Isa>(i);
  }
  return std::nullopt;
}

Isa isa_below(Isa isa) {
  switch (isa) {
    case Isa::scalar:
    case Isa::avx2:
    case Isa::neon:
      break;
    case Isa::avx512:
      return Isa::avx2;
    case Isa::amx:
      return Isa::avx512;
    case Isa::dotprod:
      return Isa::neon;
    case Isa::i8mm:
      return Isa::dotprod;
  }
  return Isa::scalar;
}

std::vector<Isa> isas_up_to(Isa isa) {
  std::vector<Isa> isas = {isa};
  while (isas.back() != Isa::scalar) isas.push_back(isa_below(isas.back()));
  std::ranges::reverse(isas);
  return isas;
}

bool includes(Isa best, Isa isa) {
  const std::vector<Isa> isas = isas_up_to(best);
  return std::ranges::find(isas, isa) != isas.end();
}

std::span<const std::string_view> required_flags(Isa isa) {
  static constexpr std::string_view kAvx2[] = {"avx2", "fma", "f16c"};
  static constexpr std::string_view kAvx512[] = {"avx512f", "avx512bw", "avx512dq", "avx512vl",
                                                 "avx512_vnni"};
  static constexpr std::string_view kAmx[] = {"amx_tile", "amx_int8", "amx_bf16"};
  static constexpr std::string_view kNeon[] = {"asimd"};
  static constexpr std::string_view kDotprod[] = {"asimddp"};
  static constexpr std::string_view kI8mm[] = {"i8mm"};
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
      return kAvx2;
    case Isa::avx512:
      return kAvx512;
    case Isa::amx:
      return kAmx;
    case Isa::neon:
      return kNeon;
    case Isa::dotprod:
      return kDotprod;
    case Isa::i8mm:
      return kI8mm;
  }
  return {};
}

Isa best_isa(const std::vector<std::string>& flags) {
  const auto found = [&flags](std::string_view flag) {
    return std::ranges::find(flags, flag) != flags.end();
  };
  Isa best = Isa::scalar;
  for (const Isa highest : {Isa::amx, Isa::i8mm}) {
    for (const Isa isa : isas_up_to(highest)) {
      if (isa == Isa::scalar) continue;
      if (!std::ranges::all_of(required_flags(isa), found)) break;
      best = isa;
    }
  }
  return best;
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

// What the processor can run. Detected once, with the operating system's consent (XCR0, and
// arch_prctl for AMX tiles).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// Instruction sets the kernels are written for, in rising order; each includes the ones before it.
enum class Isa {
  scalar,
  avx2,    // AVX2, FMA, F16C
  avx512,  // AVX-512 F, BW, DQ, VL, VNNI
  amx,     // AMX tiles with int8 and bf16, on top of avx512
};
inline constexpr int kIsas = 4;

const char* isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);  // case-insensitive

// What an instruction set needs beyond the ones below it, in cpuinfo's spelling.
std::span<const std::string_view> required_flags(Isa isa);

// The highest instruction set whose flags, and those of all below it, are among `flags`.
Isa best_isa(const std::vector<std::string>& flags);

struct CpuFeatures {
  std::string model;       // brand string
  Isa best = Isa::scalar;  // the highest instruction set that may be used
  std::vector<std::string>
      flags;  // what was found, in cpuinfo's spelling: avx2 fma f16c avx512f ... amx_bf16
  std::string tile_refusal;  // why the operating system refused AMX tiles; empty if it did not
  int cores = 1;  // processors in this process's affinity mask, at most the cgroup's quota
  std::optional<double> quota = {};  // of the control groups, in processors; nothing: no limit
};

const CpuFeatures& cpu_features();

// The tightest CPU quota, in processors, of the control groups that `membership` (the text of
// /proc/self/cgroup) names below `mount` (/sys/fs/cgroup), parents included: cpu.max of version 2,
// cpu.cfs_quota_us of version 1.
std::optional<double> cgroup_cpu_quota(std::string_view membership, const std::string& mount);

}  // namespace dunlin

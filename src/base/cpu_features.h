// What the processor can run. Detected once, with the operating system's consent: XCR0, and
// arch_prctl for AMX tiles; on ARM the auxiliary vector.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

// Instruction sets the kernels are written for. Those of one kind of processor stand in rising
// order, and each includes the ones before it of its kind, and scalar.
enum class Isa {
  scalar,
  // x86-64
  avx2,    // AVX2, FMA, F16C
  avx512,  // AVX-512 F, BW, DQ, VL, VNNI
  amx,     // AMX tiles with int8 and bf16, on top of avx512
  // aarch64
  neon,     // Advanced SIMD of ARMv8.0
  dotprod,  // SDOT: sums of four products of bytes
  i8mm,     // SMMLA: products of 2 x 8 by 8 x 2 bytes, on top of dotprod
};
inline constexpr int kIsas = 7;

// The highest one that this build has kernels of.
#if defined(__aarch64__)
inline constexpr Isa kHighestIsa = Isa::i8mm;
#else
inline constexpr Isa kHighestIsa = Isa::amx;
#endif

const char* isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);  // case-insensitive

// The highest one that `isa` includes, other than itself; scalar has only itself.
Isa isa_below(Isa isa);
// All that `isa` includes, in rising order: scalar first, itself last.
std::vector<Isa> isas_up_to(Isa isa);
// Whether a processor whose best is `best` runs kernels of `isa`.
bool includes(Isa best, Isa isa);

// What an instruction set needs beyond the ones below it, in cpuinfo's spelling.
std::span<const std::string_view> required_flags(Isa isa);

// The highest instruction set whose flags, and those of all below it, are among `flags`.
Isa best_isa(const std::vector<std::string>& flags);

struct CpuFeatures {
  std::string model;       // brand string, or the names of ARM's cores; "unknown" without either
  Isa best = Isa::scalar;  // the highest instruction set that may be used
  std::vector<std::string>
      flags;  // what was found, in cpuinfo's spelling: avx2 fma ... amx_bf16, asimd ... i8mm
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

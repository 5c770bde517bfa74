// What the processor can run. Detected once, with the operating system's consent (XCR0, and
// arch_prctl for AMX tiles).
#pragma once

#include <optional>
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

const char* isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);

struct CpuFeatures {
  std::string model;       // brand string
  Isa best = Isa::scalar;  // the highest instruction set that may be used
  std::vector<std::string>
      flags;      // what was found, in cpuinfo's spelling: avx2 fma f16c avx512f ... amx_bf16
  int cores = 1;  // processors in this process's affinity mask, at most the cgroup's quota
};

const CpuFeatures& cpu_features();

}  // namespace dunlin

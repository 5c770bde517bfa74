// CPU features from cpuid, XCR0 and arch_prctl.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/detect_processor.h"

namespace dunlin {

namespace {

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

}  // namespace

void detect_processor(CpuFeatures& features) {
  features.model = brand_string();
  features.flags = find_flags();
  features.best = best_isa(features.flags);
  if (features.best == Isa::amx) {
    features.tile_refusal = request_tile_data();
    if (!features.tile_refusal.empty()) features.best = Isa::avx512;
  }
}

}  // namespace dunlin

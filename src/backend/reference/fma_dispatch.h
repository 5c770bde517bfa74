// Runs a function body with the processor's fused multiply-add where there is one. std::fma gives
// the same bits either way; without the instruction each is a library call of about 5 ns.
#pragma once

namespace dunlin::reference {

#if defined(__x86_64__)
#define DUNLIN_TARGET_FMA __attribute__((target("avx2,fma")))
inline bool has_fma() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}
#else  // fused multiply-add belongs to the base instruction set
#define DUNLIN_TARGET_FMA
inline bool has_fma() {
  return false;
}
#endif

// A body that the two versions of a function share.
#define DUNLIN_FMA_BODY inline __attribute__((always_inline))

}  // namespace dunlin::reference

// Regions of code compiled for an instruction set. Inside a region stand intrinsics and functions
// of the region's own namespace only: an inline function of a standard header could be emitted out
// of line there, and the linker would hand that copy to the rest of the program.
#pragma once

#if defined(__clang__)
#define DUNLIN_PRAGMA(text) _Pragma(#text)
#define DUNLIN_TARGET_BEGIN(features) \
  DUNLIN_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define DUNLIN_TARGET_END _Pragma("clang attribute pop")
#else
#define DUNLIN_PRAGMA(text) _Pragma(#text)
#define DUNLIN_TARGET_BEGIN(features) \
  _Pragma("GCC push_options") DUNLIN_PRAGMA(GCC target(features))
#define DUNLIN_TARGET_END _Pragma("GCC pop_options")
#endif

#define DUNLIN_TARGET_AVX2 DUNLIN_TARGET_BEGIN("avx,avx2,fma,f16c")
#define DUNLIN_TARGET_AVX512 \
  DUNLIN_TARGET_BEGIN("avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#define DUNLIN_TARGET_AMX                                                                      \
  DUNLIN_TARGET_BEGIN(                                                                         \
      "avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-bf16,amx-" \
      "int8")

// A vector in registers must not cross a call.
#define DUNLIN_ALWAYS_INLINE __attribute__((always_inline))
#define DUNLIN_INLINE inline DUNLIN_ALWAYS_INLINE

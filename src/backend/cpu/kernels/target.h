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

#if defined(__x86_64__)
#define DUNLIN_TARGET_AVX2 DUNLIN_TARGET_BEGIN("avx,avx2,fma,f16c")
#define DUNLIN_TARGET_AVX512 \
  DUNLIN_TARGET_BEGIN("avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#define DUNLIN_TARGET_AMX                                                                      \
  DUNLIN_TARGET_BEGIN(                                                                         \
      "avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-bf16,amx-" \
      "int8")
#else
// NEON is in every program for aarch64 and needs no region; nor does a set that the whole program
// is compiled for. g++ 12 declares the intrinsics of both sets for these architectures, and inlines
// them into nothing less.
#if defined(__ARM_FEATURE_DOTPROD)
#define DUNLIN_TARGET_DOTPROD_BEGIN
#define DUNLIN_TARGET_DOTPROD_END
#else
#define DUNLIN_TARGET_DOTPROD_BEGIN DUNLIN_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#define DUNLIN_TARGET_DOTPROD_END DUNLIN_TARGET_END
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define DUNLIN_TARGET_I8MM_BEGIN
#define DUNLIN_TARGET_I8MM_END
#else
#define DUNLIN_TARGET_I8MM_BEGIN DUNLIN_TARGET_BEGIN("arch=armv8.2-a+dotprod+i8mm")
#define DUNLIN_TARGET_I8MM_END DUNLIN_TARGET_END
#endif
#endif

// A vector in registers must not cross a call.
#define DUNLIN_ALWAYS_INLINE __attribute__((always_inline))
#define DUNLIN_INLINE inline DUNLIN_ALWAYS_INLINE

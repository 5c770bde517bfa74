// The instructions of a processor that C++ has no words for: a pause in a loop that waits, and the
// control register of floating-point arithmetic.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#else
#error "Dunlin knows x86-64 and aarch64"
#endif

namespace dunlin {

#if defined(__x86_64__)

inline void pause_in_loop() {
  _mm_pause();
}

inline unsigned float_control() {
  return _mm_getcsr();
}
inline void set_float_control(unsigned control) {
  _mm_setcsr(control);
}
// MXCSR bits: flush to zero (15), denormals are zero (6); the rounding mode is bits 13 and 14.
inline unsigned flushing_to_zero(unsigned control) {
  return (control & ~0x6000u) | 0x8040u;
}

#else

// YIELD is over at once on cores with one thread, ISB takes ten and more nanoseconds: as long as the
// pause of x86, so that as many of them are as long a wait.
inline void pause_in_loop() {
  asm volatile("isb" ::: "memory");
}

inline unsigned float_control() {
  uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return static_cast<unsigned>(control);  // the upper half is reserved
}
inline void set_float_control(unsigned control) {
  asm volatile("msr fpcr, %0" : : "r"(uint64_t{control}) : "memory");
}
// FPCR bits: flush to zero (24), of results and operands; the rounding mode is bits 22 and 23.
inline unsigned flushing_to_zero(unsigned control) {
  return (control & ~(3u << 22)) | 1u << 24;
}

#endif

}  // namespace dunlin

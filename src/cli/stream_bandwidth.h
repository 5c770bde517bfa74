// How fast threads can read memory: the yardstick of weight streaming, of `bench model` and of `plan`.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace dunlin {

// GB/s (1e9 bytes) of reading `bytes` of memory once with all `threads`: the best of as many passes as fit
// into `seconds`, which read in different ways in turn (four passes at least, the first of which does not
// count). Memory that fits caches is read from them, as a model of that size is. Errors: kind does_not_fit,
// kind runtime (threads).
Result<double> measure_stream_gb_s(int threads, uint64_t bytes, double seconds);

}  // namespace dunlin

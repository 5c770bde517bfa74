// How fast threads can read memory: the yardstick of weight streaming.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace dunlin {

// GB/s (1e9 bytes) of reading `bytes` of memory once with all `threads`, the best of as many passes
// as fit into `seconds` (two at least, the first of which does not count). Errors: kind
// does_not_fit, kind runtime (threads).
Result<double> measure_stream_gb_s(int threads, uint64_t bytes, double seconds);

}  // namespace dunlin

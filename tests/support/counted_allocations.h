// An operator new that counts, in programs that link dunlin_counted_allocations and use one of these. Not under
// sanitizers, which bring their own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dunlin {

extern std::atomic<int64_t> allocations;        // since the start, of all threads
extern std::atomic<std::size_t> largest_block;  // bytes; a test sets it back

}  // namespace dunlin

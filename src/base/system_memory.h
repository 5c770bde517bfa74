// How much memory this machine has.
#pragma once

#include <cstdint>

namespace dunlin {

// Bytes of its memory and swap, used or not; UINT64_MAX where the system does not say.
uint64_t system_memory();

}  // namespace dunlin

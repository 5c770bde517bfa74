// How much memory this process can have: the machine's, within the limits of its control groups.
#pragma once

#include <cstdint>
#include <string>

namespace dunlin {

// Where the system tells it. Tests name folders of their own.
struct SystemFiles {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

// Bytes of the machine's memory and swap, used or not; where a control group of this process or of one
// around it (version 1 or 2) allows less, that. UINT64_MAX where the system does not say.
uint64_t system_memory(const SystemFiles& files = {});

// Bytes that the system could give this process now without swapping: the least of what the machine has,
// what the control groups leave and what RLIMIT_AS and RLIMIT_DATA leave. Files that are only cached count
// as free, in a control group too: who asks for memory gets their pages. UINT64_MAX where the system does
// not say.
uint64_t available_memory(const SystemFiles& files = {});

}  // namespace dunlin

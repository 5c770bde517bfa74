// What this process had to wait for from storage.
#pragma once

#include <cstdint>
#include <string>

namespace dunlin {

struct ProcessReads {
  // Read from storage for this process, ahead of it too; what was in the system's cache of files is not
  // counted. 0 where the system does not say (/proc/self/io).
  uint64_t bytes = 0;
  uint64_t major_faults = 0;  // pages that were not in memory when they were used
};

// Since the process began. `proc` is /proc, or a test's folder.
ProcessReads process_reads(const std::string& proc = "/proc");

}  // namespace dunlin

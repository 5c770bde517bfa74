#include "base/process_reads.h"

#include <sys/resource.h>

#include <fstream>

namespace dunlin {

ProcessReads process_reads(const std::string& proc) {
  ProcessReads reads;
  std::ifstream io(proc + "/self/io");
  std::string name;
  for (uint64_t count = 0; io >> name >> count;) {
    if (name == "read_bytes:") reads.bytes = count;
  }
  rusage usage = {};
  if (::getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_majflt > 0)
    reads.major_faults = static_cast<uint64_t>(usage.ru_majflt);
  return reads;
}

}  // namespace dunlin

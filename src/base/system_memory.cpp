#include "base/system_memory.h"

#include <sys/sysinfo.h>

namespace dunlin {

uint64_t system_memory() {
  struct sysinfo info = {};
  if (::sysinfo(&info) != 0 || info.totalram == 0) return UINT64_MAX;
  return (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
}

}  // namespace dunlin

// CPU features from the auxiliary vector and /proc/cpuinfo.
#include <sys/auxv.h>

#include <fstream>
#include <sstream>

#include "base/arm_processors.h"
#include "base/detect_processor.h"

namespace dunlin {

void detect_processor(CpuFeatures& features) {
  std::ifstream file("/proc/cpuinfo");
  std::ostringstream text;
  text << file.rdbuf();
  features.model = arm_model(text.str());
  features.flags = arm_flags(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
  features.best = best_isa(features.flags);
}

}  // namespace dunlin

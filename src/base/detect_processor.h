// What each kind of processor is asked in its own way: processor_x86_64.cpp, processor_aarch64.cpp.
#pragma once

#include "base/cpu_features.h"

namespace dunlin {

// Fills in model, flags, best and tile_refusal.
void detect_processor(CpuFeatures& features);

}  // namespace dunlin

// The limits that kernels are measured against: machine_peaks_x86_64.cpp, machine_peaks_aarch64.cpp.
#pragma once

namespace dunlin {

// A plain read stream, the multiply-add peak, and the peaks of units that multiply matrices, as far
// as this processor has what they are written for; of x86-64 those of free_order.h, too.
void register_peaks();

}  // namespace dunlin

// How fast mapped weights come from disk.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace dunlin {

// Gigabytes (1e9) per second, the fastest of some passes over `seconds`, one at least: a file of so many
// bytes in `folder`, which is made where it is missing, is mapped and read as `--offload` reads a layer,
// after the system has forgotten it. The file is gone afterwards. Errors (kind runtime or does_not_fit)
// name the folder: one that cannot be written, less than four times the bytes free, a file system that
// keeps its files in memory.
Result<double> measure_disk_gb_s(const std::string& folder, uint64_t bytes, double seconds);

}  // namespace dunlin

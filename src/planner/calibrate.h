// calibrate(): measures this machine in about ten seconds, through a back end's own kernels.
#pragma once

#include <functional>

#include "backend/api.h"
#include "planner/cpu_rates.h"

namespace dunlin {

struct CalibrationOptions {
  std::string cpu;  // brand string, for the record
  int threads = 0;  // 0: one per core
  double seconds = 10;
  double hertz = 3e9;  // clock rate under load
  // Bytes per second of reading so many bytes with so many threads, for so long.
  std::function<Result<double>(int threads, uint64_t bytes, double seconds)> stream;
  std::function<void(double fraction, const std::string& what)> progress = {};
};

// Runs transformer blocks with zero weights (planner/calibration_block.h): per format a wide one, one that is
// narrow, two with a long cache. They take turns; of each the median counts, as of the repetitions of
// `bench model`, and planner/calibration_fit.h makes rates of them, near typical_rates(). At most about 1.1 GB of memory at a time,
// most of it for the largest stream, which is left out where it does not fit.
// Errors: of the first stream and of compile() (kind does_not_fit where memory is short).
Result<CpuRates> calibrate(Backend& backend, const CalibrationOptions& options);

// A processor whose kernels were not measured.
struct Processor {
  std::string cpu;
  std::string isa;
  int threads = 1;
  double hertz = 3e9;
};

// Rates from the measured stream and what the instruction set reached per cycle and thread where it
// was measured (docs/planning.md, "This machine").
CpuRates typical_rates(const Processor& processor, std::vector<StreamPoint> stream);

}  // namespace dunlin

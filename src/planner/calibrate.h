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
  // Bytes per second of reading so many bytes with so many threads, for so long.
  std::function<Result<double>(int threads, uint64_t bytes, double seconds)> stream;
  std::function<void(double fraction, const std::string& what)> progress = {};
};

// Runs transformer blocks with zero weights, whose time does not depend on values: per format a block
// large enough to stream, one small block for the time of a step itself, and one with a long cache.
// Errors: of the stream and of compile() (kind does_not_fit where memory is short).
Result<CpuRates> calibrate(Backend& backend, const CalibrationOptions& options);

// A processor whose kernels were not measured.
struct Processor {
  std::string cpu;
  std::string isa;
  int threads = 1;
  double hertz = 0;
};

// Rates from the measured stream and what the instruction set reached per cycle and thread where it
// was measured (docs/planning.md, "This machine").
CpuRates typical_rates(const Processor& processor, std::vector<StreamPoint> stream);

}  // namespace dunlin

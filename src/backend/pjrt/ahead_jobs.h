// Programs compiled several at a time, or some of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/pjrt/compile_ahead.h"

namespace dunlin::pjrt {

struct AheadJob {
  std::string name = {};
  std::function<std::string()> text = {};  // StableHLO; from any thread
};

// Safe from any thread.
using CompileJob = std::function<Result<AheadProgram>(const std::string& text)>;
using AheadProgress = std::function<void(double fraction, const std::string& what)>;

// Those whose names some pattern of fnmatch(3) fits; all where there is no pattern. Error (kind usage):
// a pattern that fits none, with the names that there are.
Result<std::vector<AheadJob>> named_jobs(std::vector<AheadJob> jobs,
                                         const std::vector<std::string>& patterns);

// Compiles every job on up to `threads` threads; names and times are put in here. `progress` may be
// empty, and is called from one thread at a time. After the first error nothing more is begun, and
// it is what is returned, with the name of its job.
Result<std::vector<AheadProgram>> run_jobs(const std::vector<AheadJob>& jobs, int threads,
                                           const AheadProgress& progress,
                                           const CompileJob& compile);

}  // namespace dunlin::pjrt

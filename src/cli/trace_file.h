// A trace in Chrome's format (JSON, "Trace Event Format"), which Perfetto's page shows: a process for
// each model that is measured, a thread for each worker, and complete events for tests, runs and steps.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/atomic_file.h"
#include "base/result.h"
#include "cli/bench_profile.h"

namespace dunlin {

class TraceFile {
 public:
  // Nothing is at `path` before finish(). Errors: of AtomicFile.
  static Result<TraceFile> create(const std::string& path);

  // What follows is of this model with so many threads.
  Result<void> begin_process(const std::string& name, int threads);
  // The recorded repetition of a test. On the thread of the caller a step's event lies within that of
  // its run, and that within the test's; other threads have those of steps. Those of the caller have
  // in their arguments the kernel, rows, bytes, operations, and the fraction of the roof that bounds
  // them. Times are microseconds since create().
  Result<void> add(const std::string& test, const Profile& profile, const Roofs& roofs);
  // Closes the file and puts it in its place; `about` becomes its otherData.
  Result<void> finish(const nlohmann::ordered_json& about);

 private:
  explicit TraceFile(AtomicFile file);

  Result<void> write(const nlohmann::ordered_json& event);
  Result<void> flush();
  nlohmann::ordered_json complete_event(const std::string& name, const std::string& category,
                                        int32_t thread, int64_t begin_ns, int64_t end_ns) const;

  AtomicFile file_;
  std::string text_ = {};  // not yet in the file
  bool empty_ = true;      // no event was written
  int64_t start_ns_ = 0;
  int process_ = 0;
};

}  // namespace dunlin

// What a recorded repetition of a test says (backend/profile.h): where its time goes, and how near each
// kind of step comes to what the machine can do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/profile.h"
#include "base/result.h"

namespace dunlin {

// What steps are held against.
struct Roofs {
  double bytes_per_second = 0;                            // that all threads read from memory
  std::optional<double> flops_per_second = std::nullopt;  // the calibrated peak, where there is one
};

// How long work would take if the machine did nothing else, at either roof.
struct RoofTime {
  double memory_seconds = 0;
  double compute_seconds = 0;  // 0 without a calibrated peak

  double seconds() const { return std::max(memory_seconds, compute_seconds); }
  const char* bound() const { return compute_seconds > memory_seconds ? "compute" : "memory"; }
};
RoofTime roof_time(double bytes, double flops, const Roofs& roofs);

// Steps that differ in nothing but the number of their layer.
struct ProfileKind {
  std::string name = {};  // "linear+shared_input layers.*.attend.q_proj"
  int64_t calls = 0;
  double seconds = 0;
  double bytes = 0;
  double flops = 0;
  RoofTime roof = {};       // of both sums
  double roof_seconds = 0;  // each call at the roof that bounds it
};

// The costliest first.
std::vector<ProfileKind> profile_kinds(const Profile& profile, const Roofs& roofs);

// Of all runs.
double profiled_seconds(const Profile& profile);

// A line about the test, and a table of its `most` costliest kinds: share of time, GB/s, fraction of
// the roof.
std::string profile_table(const std::string& test, const Profile& profile, const Roofs& roofs,
                          size_t most);

// "linear+shared_input layers.0.attend.q_proj".
std::string step_title(const ProfiledStep& step);

// The kernels of a step for the classes of rows that a run has, each once: "a, b".
std::string kernels_text(const ProfiledStep& step, const ProfiledRun& run);

// Calls run(), which returns Result<void>, while the executable notes its steps. Errors: of
// Executable::record, of run().
template <typename Run>
Result<void> record_while(Executable& executable, Profile& profile, Run&& run) {
  DUNLIN_RETURN_IF_ERROR(executable.record(&profile));
  const Result<void> ran = run();
  DUNLIN_RETURN_IF_ERROR(executable.record(nullptr));
  return ran;
}

}  // namespace dunlin

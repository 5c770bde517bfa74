// The PJRT back end: compiles a Program to StableHLO and runs it through a PJRT plug-in: TPU, GPU,
// or XLA's own CPU, which is there for correctness.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "program/mesh.h"

namespace dunlin {

// Steps of one call of a GPU, which share what a call costs: two transfers and a start. XLA for CPU has
// neither, and a TPU pays for a loop with copies of the cache (docs/decisions/0009-pjrt.md).
inline constexpr int64_t kStepsPerCallOnGpus = 8;
inline constexpr int64_t kMostStepsPerCall = 64;

// Where the plug-in runs: in a child process, so that one that crashes, is killed or hangs is an error of
// kind device. The child ends with the last that holds something of the plug-in, and with this process.
struct IsolateOptions {
  // The path of a `dunlin` of this build, which is started as the child.
  std::string program = {};
  // That a call of the plug-in may take; 0: kAnswerSeconds, or kCompileSeconds to compile.
  double seconds = 0;
};
inline constexpr double kAnswerSeconds = 600;
inline constexpr double kCompileSeconds = 3600;

// The program that is running, whatever has become of its file.
inline constexpr const char* kThisProgram = "/proc/self/exe";
// What a `dunlin` is started with as a child: a command that people do not see.
inline constexpr const char* kPluginHostCommand = "plugin-host";
// That command: asks a plug-in what the process that started it wants to know, and ends with that one.
// Returns an exit code where nobody wants to know anything.
int serve_plugin();

struct PjrtOptions {
  std::string device = "cpu-xla";  // or "tpu", "gpu", or the path of a plug-in
  // Of the plug-in's first devices: those of one process. cpu-xla has as many as the mesh. Of its axes
  // data, expert and model.
  MeshShape mesh = {};
  // Options of the plug-in's compiler as "name=value"; true, false and integers are sent as such,
  // everything else as text. Of two values for one name the last counts.
  std::vector<std::string> xla_options = {};
  // Tokens of greedy requests that a device computes in one call, 1 to kMostStepsPerCall
  // (StepPlan::steps); 0: kStepsPerCallOnGpus on GPUs, and
  // one by one elsewhere.
  int64_t steps_per_call = 0;
  // Where compiled programs are kept for other processes; empty: nowhere. Unset: the folder that
  // DUNLIN_COMPILE_CACHE names, which may be empty, else `compiled` in the user's cache_folder().
  std::optional<std::string> program_folder = {};
  std::optional<IsolateOptions> isolate = {};  // unset: the plug-in is loaded into this process
};

// Errors of kind device: no plug-in or no process for it, of a version this build cannot drive, without
// a device or with fewer than the mesh has, or whose compiler does not take an option. Of kind usage: a
// device or an axis of the mesh that is not known here, steps out of range.
Result<std::unique_ptr<Backend>> make_pjrt_backend(const PjrtOptions& options);

struct PjrtPlugin {
  std::string name = {};
  std::string path = {};         // empty: not found
  std::string api_version = {};  // "0.81"; empty when it did not load
  std::vector<std::string> devices = {};
  std::string why_not = {};  // empty: it can be used
};

// Every plug-in that has a known name or is named in the environment. Each is tried in a process of
// its own, for at most `seconds`: a plug-in that crashes or hangs is a line of the answer.
std::vector<PjrtPlugin> list_pjrt_plugins(double seconds = 20.0);

}  // namespace dunlin

// Compiling a model's programs before there is a step: for the device that is here, whose programs
// are kept for those who run the model, or for one that need not be here, to see what it would take.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/client/cycle_estimate.h"
#include "backend/pjrt/pjrt_backend.h"

namespace dunlin {

struct AheadOptions {
  // Its device may be empty: cpu-xla, or what compiles for the topology. Its mesh has the devices of
  // the topology.
  PjrtOptions pjrt = {};
  std::string topology = {};  // "v5e:1x1", "h100" (backend/pjrt/target.h); empty: what is here
  // Of a device of the topology, where the target itself does not say: what is surely too large is
  // told at once. 0: the compiler tells.
  int64_t memory_bytes = 0;
  CompileOptions compile = {};  // threads: programs that are compiled at a time
  // Patterns of fnmatch(3) for the names of programs (AheadProgram::name); none: all programs.
  std::vector<std::string> only = {};
};

// Of a device, as the compiler tells.
struct AheadBytes {
  int64_t arguments = 0;  // weights, KV cache and the step
  int64_t outputs = 0;
  int64_t aliased = 0;  // outputs that lie where arguments did
  int64_t temporary = 0;
  int64_t code = 0;

  int64_t total() const { return arguments + outputs - aliased + temporary + code; }
};

struct AheadProgram {
  std::string name = {};  // "8x1 rows, 8 logit rows, 4096 positions"
  bool from_cache = false;
  double seconds = 0;
  std::optional<AheadBytes> bytes = {};  // absent where the plug-in does not tell
  // What the compiler takes it to need, of a topology; only libtpu tells.
  std::optional<pjrt::CycleEstimate> estimate = {};
};

struct AheadResult {
  std::string plugin = {};          // its path
  std::string program_folder = {};  // where they are kept; empty: nowhere
  int64_t weights_bytes = 0;        // of the arguments, on each device
  // How operations hold their weights there: "embed: bf16; linear: i4 in groups of 32".
  std::string weight_forms = {};
  int64_t kv_bytes = 0;
  int64_t memory_bytes = 0;  // of a device; 0: only its compiler knows
  std::vector<AheadProgram> programs = {};
};

// Every program of an engine that serves `options.compile.limits`; `options.compile.progress` is
// called from one thread at a time. Of `weights` only formats and shapes are used. Errors: those of
// make_pjrt_backend() and check_profile() (profile.h); usage, an unknown topology, a mesh over which the
// Program cannot be split, or `only` of which a pattern fits no program; device, a topology of another
// number of devices than the mesh; does_not_fit, with what is needed and what there is.
Result<AheadResult> compile_ahead(const Program& program, const WeightSource& weights,
                                  const AheadOptions& options);

}  // namespace dunlin

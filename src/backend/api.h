// The interface of every back end: a compiler of Programs, the executables it makes, and the bytes
// of the KV cache.
#pragma once

#include <dunlin/kv_type.h>
#include <dunlin/precision.h>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "formats/arithmetic.h"
#include "formats/prepared_weights.h"
#include "formats/weight_view.h"
#include "program/program.h"
#include "step/step.h"

namespace dunlin {

const char* precision_name(Precision precision);  // "auto", "exact", "int8", "f32", "fast"

// The table of docs/decisions/0002-numerics.md; `kept`: one of kept_weights().
Arithmetic linear_arithmetic(Format weight, Precision precision, RowClass row_class,
                             bool kept = false);

// By WeightId: weights that stay in their own format in every profile, because `embed` reads rows of
// them or `route` multiplies by them in float32.
std::vector<bool> kept_weights(const Program& program);

const char* kv_type_name(KvType type);                       // "bf16", "f32", "int8"
std::optional<KvType> parse_kv_type(std::string_view name);  // of these names

// What a profile keeps unless it is asked for something else: float32 under Precision::f32, else bf16.
KvType default_kv_type(Precision precision);

// `asked`, or the default where nothing is. The error (kind usage): float32 goes with Precision::f32,
// and nothing else does.
Result<KvType> kv_type_of(Precision precision, std::optional<KvType> asked);

// Bytes of a key or a value of so many dimensions, its scale included.
int64_t kv_head_bytes(KvType type, int64_t head_dim);

// Where a back end gets the weights a Program declares.
using WeightSource = std::function<Result<WeightView>(const std::string& name)>;

// The largest step an executable accepts; offsets are planned once for it.
struct StepLimits {
  int64_t rows = 512;
  int64_t logit_rows = 16;
  int64_t sequences = 16;
  int64_t context = 4096;  // positions of one sequence
};

// Pages that one sequence can need in a group: the whole context, or a window and the rows of a step.
int64_t kv_pages(const KvGroup& group, const StepLimits& limits);

// How weights that lie packed in files reach memory.
enum class LoadMode {
  automatic,  // copy; of a PackedWeightStore mmap from kMappedBytes on; XLA for CPU as it can
  copy,       // read into memory of their own, checksums compared
  mmap,  // mapped: pages are read when they are first used, and are shared with other processes
};

// Two threads copy and compare some gigabytes in a second, which is what a person notices.
inline constexpr int64_t kMappedBytes = 2'000'000'000;

// Computing with mapped weights of which memory holds a part.
struct OffloadOptions {
  bool on = false;
  // That the caller will take beside what the executable holds: pages of KV caches.
  uint64_t other_bytes = 0;
};

// Of the CPU back end: measuring how weights are read fastest (docs/performance.md, "Processors and memory").
struct MemoryTuningOptions {
  std::string folder = {};   // where it is kept; empty: nothing is measured or found
  uint64_t least_bytes = 0;  // of weights; reading less is soon done
};

struct CompileOptions {
  Precision precision = Precision::automatic;
  std::optional<KvType> kv_type = {};  // kv_type_of(); int8: the back ends cpu and reference
  StepLimits limits = {};
  int threads = 0;       // 0: one per core of the affinity mask
  std::string isa = {};  // empty: DUNLIN_ISA, or the best there is
  // Names of optimisations (Backend::optimizations) to do without. Others' names are ignored.
  std::vector<std::string> disabled = {};
  std::function<void(double fraction, const std::string& what)> progress =
      {};  // loading; may be empty
  // What a WeightPacker of the same back end gave: compile() takes it as it is. Of the WeightSource
  // only formats and shapes are used then. May be null.
  std::shared_ptr<const PreparedWeights> prepared = {};
  // Where compile() looks for what it packed before, and leaves what it packs, unless there are prepared
  // weights. May be null; used by a back end that has a packing().
  std::shared_ptr<PackedWeightStore> store = {};
  LoadMode load_mode = LoadMode::automatic;  // of both
  // Of the CPU back end, with LoadMode::mmap and one of both. Without prepared weights it needs the
  // store to keep what is packed, a piece at a time.
  OffloadOptions offload = {};
  MemoryTuningOptions memory_tuning = {};

  bool enabled(std::string_view optimization) const {
    return std::ranges::find(disabled, optimization) == disabled.end();
  }
};

// Bytes that compile() and make_kv_state() hold.
struct Footprint {
  uint64_t weights = 0;
  std::vector<uint64_t> by_weight = {};  // by WeightId; their sum but for alignment is `weights`
  uint64_t kv = 0;                       // all pages written
  uint64_t activations = 0;              // values of the Program
  uint64_t workspace = 0;                // scratch of steps and threads
  uint64_t loading = 0;  // buffers while weights are read, before activations and workspace

  uint64_t running() const { return weights + kv + activations + workspace; }
};

// What memory holds of mapped weights of which it need not hold all (OffloadOptions), and what a step
// reads from storage.
struct Residency {
  uint64_t budget_bytes = 0;       // that the weights may take
  uint64_t least_bytes = 0;        // that they take whatever the budget is
  uint64_t pinned_bytes = 0;       // dense weights that stay
  uint64_t streamed_bytes = 0;     // dense weights that do not
  uint64_t streaming_bytes = 0;    // the most of those that are in memory at a time
  uint64_t expert_bytes = 0;       // of all experts
  uint64_t expert_room_bytes = 0;  // of experts that may be held
  uint64_t unmapped_bytes = 0;     // of steps without a kernel, whose weights are copied
  int64_t layers = 0;              // that have dense weights
  int64_t pinned_layers = 0;

  uint64_t held_bytes() const {
    return pinned_bytes + streaming_bytes + expert_room_bytes + unmapped_bytes;
  }
  // Of dense weights, in every step: what changes places. One or two groups find room and stay.
  uint64_t reread_bytes() const { return streamed_bytes > streaming_bytes ? streamed_bytes : 0; }
};

// Physical pages of the KV cache: pages[g] of 16 tokens for every layer of group g.
class KvState {
 public:
  virtual ~KvState() = default;
  virtual int32_t groups() const = 0;
  virtual int64_t pages(int32_t group) const = 0;
  // 0: a sequence's table may name any physical page. Otherwise n: the sequence in slot s has pages
  // [s n, s n + n) of the group to itself, and its page number p is physical page s n + p mod n.
  virtual int64_t pages_per_slot(int32_t group) const {
    (void)group;
    return 0;
  }
  virtual uint64_t bytes() const = 0;

  // Names back end, element type and order of the bytes of a page: pages can be loaded where they
  // were saved with the same layout for the same KV groups. Empty: pages cannot be saved, and none
  // of the following is called.
  virtual std::string layout() const { return {}; }
  // Of one page in all layers of its group.
  virtual uint64_t page_bytes(int32_t group) const {
    (void)group;
    return 0;
  }
  // `into` and `from` have page_bytes(group). Not while a step runs.
  virtual void save_page(int32_t group, int32_t page, std::span<std::byte> into) const {
    (void)group, (void)page, (void)into;
  }
  virtual void load_page(int32_t group, int32_t page, std::span<const std::byte> from) {
    (void)group, (void)page, (void)from;
  }
};

// What the compiler of a device made for an executable so far. Compiling is done for the sizes of
// steps, when such a step comes first; afterwards the numbers stay.
struct DevicePrograms {
  int64_t compiled = 0;
  int64_t loaded = 0;  // compiled before, by another executable
  double seconds = 0;  // of both
};

// Of an executable that was compiled with OffloadOptions, since then.
struct OffloadStatistics {
  uint64_t budget_bytes = 0;       // of weights that memory may hold
  uint64_t pinned_bytes = 0;       // of weights that stay there now
  uint64_t streamed_bytes = 0;     // of dense weights that every step reads anew
  uint64_t expert_room_bytes = 0;  // for experts, those that stay included
  bool locked = false;             // what stays is locked; false: the system refused that
  // Experts that a layer of a step chose, each once for all of its rows; and those that were held then.
  int64_t expert_uses = 0;
  int64_t expert_hits = 0;
  // Of the whole process (base/process_reads.h).
  uint64_t read_bytes = 0;
  uint64_t major_faults = 0;
};

class Profile;

class Executable {
 public:
  virtual ~Executable() = default;

  virtual Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) = 0;

  // What KvState::pages_per_slot will say: pages of a group are a multiple of it.
  virtual int64_t pages_per_slot(int32_t group) const {
    (void)group;
    return 0;
  }

  // Executes one step. `plan` is within the limits and its tables name pages of `state`; both are
  // the caller's promise, checked once by validate(). On this machine's processors it cannot fail
  // and does not allocate; a device can, which output.failure tells. `output` views memory of the
  // executable.
  virtual void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept = 0;

  // How often one call of run() may repeat a step (StepPlan::steps); 1: there are no loops.
  virtual int64_t most_steps() const { return 1; }

  // What ran where: pairs of operation and kernel name, for banners and benchmarks.
  virtual std::vector<std::pair<std::string, std::string>> kernels() const = 0;
  virtual const std::string& isa() const = 0;
  virtual int threads() const = 0;
  virtual uint64_t weights_bytes() const = 0;    // as held in memory
  virtual uint64_t workspace_bytes() const = 0;  // activations and scratch
  // Of the scratch, what attention needs beside the KV state: partial results, copies of keys and
  // values, the workspace of every thread. Nothing from a back end that does not know.
  virtual std::optional<uint64_t> attention_bytes() const { return std::nullopt; }
  // Nothing where compile() does all there is to compile.
  virtual DevicePrograms programs() const { return {}; }

  // How weights are read and how that is known, for people; empty from a back end that chooses nothing.
  virtual std::string memory_tuning() const { return {}; }

  // Nothing unless weights are read while the model runs.
  virtual std::optional<OffloadStatistics> offload() const { return std::nullopt; }

  // From now on run() notes in `profile` (backend/profile.h), which it describes its steps to, what
  // each of them takes; null: no more. The profile outlives that. Not while a step runs. Without a
  // profile run() is as fast as ever. Error (kind usage): a back end that does not tell its steps
  // apart.
  virtual Result<void> record(Profile* profile);
};

// Sizes against the limits, positions against the context, pages against the state; `most_steps` of
// the executable.
Result<void> validate(const StepPlan& plan, const Program& program, const StepLimits& limits,
                      const KvState& state, int64_t most_steps = 1);

// Something done for speed or memory that changes no bit of a result, and can be left out.
struct Optimization {
  std::string name;
  std::string brings;  // one line for people
};

// A node that runs within another node's step, and the optimisation that brought it there.
struct FusedNode {
  std::string optimization;
  std::string node;
  friend auto operator<=>(const FusedNode&, const FusedNode&) = default;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  // What this back end can do without.
  virtual std::vector<Optimization> optimizations() const = 0;
  // The fusions that compile() would make of a sound Program, in order of execution.
  virtual std::vector<FusedNode> fusions(const Program& program,
                                         const CompileOptions& options) const = 0;
  virtual Result<std::unique_ptr<Executable>> compile(const Program& program,
                                                      const WeightSource& weights,
                                                      const CompileOptions& options) = 0;

  // What the same compile() and make_kv_state() would hold, without reading a weight: of `weights`
  // only formats and shapes are used. Errors as compile()'s; kind device where a back end knows
  // only after compiling.
  virtual Result<Footprint> footprint(const Program& program, const WeightSource& weights,
                                      const CompileOptions& options,
                                      const std::vector<int64_t>& pages_per_group) const;

  // What the same compile() with OffloadOptions would keep of the weights and read while it runs, where
  // the process can have `available` bytes of memory beside what it has now; DUNLIN_MEMORY_BUDGET goes
  // before. Reads no weight. A budget of nothing where the rest leaves nothing. Errors as footprint()'s;
  // a variable that is no size, and kind usage from a back end that holds all weights.
  virtual Result<Residency> residency(const Program& program, const WeightSource& weights,
                                      const CompileOptions& options,
                                      const std::vector<int64_t>& pages_per_group,
                                      uint64_t available) const;

  // Names what compile() makes of weights, and its version; empty: nothing that can be prepared.
  virtual std::string packing() const { return {}; }
  // The weights as compile() of the same Program and precision would hold them, in order of use.
  // `program` and `weights` outlive it. Errors as compile()'s; kind usage from a back end that
  // prepares nothing.
  virtual Result<std::unique_ptr<WeightPacker>> packer(const Program& program,
                                                       const WeightSource& weights,
                                                       const CompileOptions& options) const;
};

}  // namespace dunlin

// The interface of every back end: a compiler of Programs, the executables it makes, and the bytes
// of the KV cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "formats/arithmetic.h"
#include "formats/weight_view.h"
#include "program/program.h"
#include "step/step.h"

namespace dunlin {

// The arithmetic profiles of docs/decisions/0002-numerics.md.
enum class Precision : uint8_t { automatic, exact, f32 };

const char* precision_name(Precision precision);  // "auto", "exact", "f32"

// The table of docs/decisions/0002-numerics.md.
Arithmetic linear_arithmetic(Format weight, Precision precision, RowClass row_class);

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

struct CompileOptions {
  Precision precision = Precision::automatic;
  StepLimits limits;
  int threads = 0;       // 0: one per core of the affinity mask
  std::string isa = {};  // empty: DUNLIN_ISA, or the best there is
  std::function<void(double fraction, const std::string& what)> progress =
      {};  // loading; may be empty
};

// Bytes that compile() and make_kv_state() hold.
struct Footprint {
  uint64_t weights = 0;
  std::vector<uint64_t> by_weight = {};  // by WeightId; their sum but for alignment is `weights`
  uint64_t kv = 0;           // all pages written
  uint64_t activations = 0;  // values of the Program
  uint64_t workspace = 0;    // scratch of steps and threads
  uint64_t loading = 0;      // buffers while weights are read, before activations and workspace

  uint64_t running() const { return weights + kv + activations + workspace; }
};

// Physical pages of the KV cache: pages[g] of 16 tokens for every layer of group g.
class KvState {
 public:
  virtual ~KvState() = default;
  virtual int64_t pages(int32_t group) const = 0;
  virtual uint64_t bytes() const = 0;
};

class Executable {
 public:
  virtual ~Executable() = default;

  virtual Result<std::unique_ptr<KvState>> make_kv_state(
      const std::vector<int64_t>& pages_per_group) = 0;

  // Executes one step. `plan` is within the limits and its tables name pages of `state`; both are
  // the caller's promise, checked once by validate(). Cannot fail and does not allocate. `output`
  // views memory of the executable.
  virtual void run(const StepPlan& plan, KvState& state, StepOutput& output) noexcept = 0;

  // What ran where: pairs of operation and kernel name, for banners and benchmarks.
  virtual std::vector<std::pair<std::string, std::string>> kernels() const = 0;
  virtual const std::string& isa() const = 0;
  virtual int threads() const = 0;
  virtual uint64_t weights_bytes() const = 0;    // as held in memory
  virtual uint64_t workspace_bytes() const = 0;  // activations and scratch
};

// Sizes against the limits, positions against the context, pages against the state.
Result<void> validate(const StepPlan& plan, const Program& program, const StepLimits& limits,
                      const KvState& state);

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Result<std::unique_ptr<Executable>> compile(const Program& program,
                                                      const WeightSource& weights,
                                                      const CompileOptions& options) = 0;

  // What the same compile() and make_kv_state() would hold, without reading a weight: of `weights`
  // only formats and shapes are used. Errors as compile()'s; kind device where a back end knows
  // only after compiling.
  virtual Result<Footprint> footprint(const Program& program, const WeightSource& weights,
                                      const CompileOptions& options,
                                      const std::vector<int64_t>& pages_per_group) const;
};

}  // namespace dunlin

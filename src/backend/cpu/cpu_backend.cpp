// compile() of the CPU back end: options, the checks that run() relies on, then the executable.
#include "backend/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <new>
#include <stdexcept>
#include <utility>

#include "backend/cpu/executable.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/optimizations.h"
#include "backend/cpu/residency.h"
#include "backend/cpu/select.h"
#include "backend/cpu/weights.h"

namespace dunlin {

namespace {

Result<void> check_limits(const StepLimits& limits) {
  const auto in_range = [](int64_t value) { return value >= 1 && value <= (int64_t{1} << 31) - 1; };
  if (in_range(limits.rows) && in_range(limits.logit_rows) && in_range(limits.sequences) &&
      in_range(limits.context)) {
    return {};
  }
  return usage_error(fmt::format(
      "step limits: {} rows, {} logit rows, {} sequences, {} positions of context; each must be "
      "at least 1",
      limits.rows, limits.logit_rows, limits.sequences, limits.context));
}

class CpuBackend final : public Backend {
 public:
  const char* name() const override { return "cpu"; }

  std::vector<Optimization> optimizations() const override { return cpu::optimizations(); }

  std::vector<FusedNode> fusions(const Program& program,
                                 const CompileOptions& options) const override {
    std::vector<FusedNode> nodes;
    for (const cpu::FusedStep& step : cpu::fuse(program, options.disabled)) {
      for (const cpu::AbsorbedNode& absorbed : step.absorbed)
        nodes.push_back({absorbed.rewrite, program.nodes[static_cast<size_t>(absorbed.node)].name});
    }
    return nodes;
  }

  Result<std::unique_ptr<Executable>> compile(const Program& program, const WeightSource& weights,
                                              const CompileOptions& options) override {
    DUNLIN_ASSIGN_OR_RETURN(const Isa isa, check(program, options));
    const CompileOptions chosen = with_threads(options);
    try {
      DUNLIN_ASSIGN_OR_RETURN(std::unique_ptr<Executable> executable,
                              cpu::CpuExecutable::create(program, weights, chosen, isa));
      return executable;
    } catch (const std::bad_alloc&) {
      return Error{ErrorKind::does_not_fit,
                   "compiling for the CPU needs more memory than there is"};
    } catch (const std::length_error&) {
      return Error{ErrorKind::does_not_fit,
                   "compiling for the CPU needs more memory than there is"};
    }
  }

  Result<Footprint> footprint(const Program& program, const WeightSource& weights,
                              const CompileOptions& options,
                              const std::vector<int64_t>& pages_per_group) const override {
    DUNLIN_ASSIGN_OR_RETURN(const Isa isa, check(program, options));
    return cpu::CpuExecutable::footprint(program, weights, with_threads(options), isa,
                                         pages_per_group);
  }

  Result<Residency> residency(const Program& program, const WeightSource& weights,
                              const CompileOptions& options,
                              const std::vector<int64_t>& pages_per_group,
                              uint64_t available) const override {
    DUNLIN_ASSIGN_OR_RETURN(const Footprint held,
                            footprint(program, weights, options, pages_per_group));
    return cpu::residency_of(program, weights, options, held, available);
  }

  std::string packing() const override { return cpu::kPacking; }

  Result<std::unique_ptr<WeightPacker>> packer(const Program& program, const WeightSource& weights,
                                               const CompileOptions& options) const override {
    DUNLIN_RETURN_IF_ERROR(verify(program));
    return cpu::make_packer(program, weights, with_threads(options));
  }

 private:
  static Result<Isa> check(const Program& program, const CompileOptions& options) {
    DUNLIN_RETURN_IF_ERROR(verify(program));
    DUNLIN_RETURN_IF_ERROR(check_limits(options.limits));
    return cpu::select_isa(options.isa);
  }

  static CompileOptions with_threads(const CompileOptions& options) {
    CompileOptions chosen = options;
    if (chosen.threads == 0) chosen.threads = cpu_features().cores;
    return chosen;
  }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace dunlin

// compile() of the reference back end: verify() proves what run() relies on, then the weights are
// read.
#include <fmt/format.h>

#include <new>
#include <stdexcept>

#include "backend/reference/executor.h"
#include "backend/reference/reference.h"
#include "base/thread_pool.h"

namespace dunlin::reference {
namespace {

class ReferenceBackend final : public Backend {
 public:
  const char* name() const override { return "reference"; }
  std::vector<Optimization> optimizations() const override { return {}; }
  std::vector<FusedNode> fusions(const Program& /*program*/,
                                 const CompileOptions& /*options*/) const override {
    return {};
  }

  Result<std::unique_ptr<Executable>> compile(const Program& program, const WeightSource& weights,
                                              const CompileOptions& options) override {
    if (!options.isa.empty() && options.isa != "scalar") {
      return usage_error(
          fmt::format("the reference back end is scalar; it has no {} version", options.isa));
    }
    DUNLIN_RETURN_IF_ERROR(verify(program));
    DUNLIN_ASSIGN_OR_RETURN(const KvType kv_type, kv_type_of(options.precision, options.kv_type));
    try {
      const FlushToZero flush_to_zero;
      DUNLIN_ASSIGN_OR_RETURN(std::vector<PreparedWeight> prepared,
                              prepare_weights(program, weights, options, kept_weights(program)));
      return std::unique_ptr<Executable>(
          std::make_unique<ReferenceExecutable>(program, std::move(prepared), kv_type));
    } catch (const std::bad_alloc&) {
      return Error{ErrorKind::does_not_fit, "the decoded weights do not fit into memory"};
    } catch (const std::length_error&) {
      return Error{ErrorKind::does_not_fit, "the decoded weights do not fit into memory"};
    }
  }
};

}  // namespace
}  // namespace dunlin::reference

namespace dunlin {

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<reference::ReferenceBackend>();
}

}  // namespace dunlin

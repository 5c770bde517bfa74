#include "backend/pjrt/pjrt_backend.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "backend/pjrt/executable.h"
#include "backend/pjrt/open_device.h"
#include "backend/pjrt/profile.h"

namespace dunlin {
namespace {

class PjrtBackend final : public Backend {
 public:
  explicit PjrtBackend(pjrt::OpenDevice device) : device_(std::move(device)) {}

  const char* name() const override { return "pjrt"; }
  // What may be fused is the plug-in's own business (CompileSpec::options).
  std::vector<Optimization> optimizations() const override { return {}; }
  std::vector<FusedNode> fusions(const Program& /*program*/,
                                 const CompileOptions& /*options*/) const override {
    return {};
  }

  Result<std::unique_ptr<Executable>> compile(const Program& program, const WeightSource& weights,
                                              const CompileOptions& options) override {
    if (!options.isa.empty()) {
      return usage_error("the pjrt back end takes no instruction set; --device chooses");
    }
    DUNLIN_RETURN_IF_ERROR(pjrt::check_profile(options));
    try {
      DUNLIN_ASSIGN_OR_RETURN(
          auto executable,
          pjrt::PjrtExecutable::create(device_.client, program, weights, options, device_.spec,
                                       device_.program_folder, device_.mesh, device_.steps));
      return std::unique_ptr<Executable>(std::move(executable));
    } catch (const std::bad_alloc&) {
      return Error{ErrorKind::does_not_fit, "loading the weights needs more memory than there is"};
    } catch (const std::length_error&) {
      return Error{ErrorKind::does_not_fit, "loading the weights needs more memory than there is"};
    }
  }

 private:
  pjrt::OpenDevice device_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_pjrt_backend(const PjrtOptions& options) {
  DUNLIN_ASSIGN_OR_RETURN(pjrt::OpenDevice device, pjrt::open_device(options));
  return std::unique_ptr<Backend>(std::make_unique<PjrtBackend>(std::move(device)));
}

}  // namespace dunlin

#include "backend/pjrt/pjrt_backend.h"

#include <fmt/format.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

#include "backend/pjrt/discover.h"
#include "backend/pjrt/executable.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "base/user_folders.h"

namespace dunlin {
namespace {

class PjrtBackend final : public Backend {
 public:
  PjrtBackend(std::shared_ptr<const pjrt::Client> client, pjrt::CompileSpec spec,
              std::string program_folder)
      : client_(std::move(client)),
        spec_(std::move(spec)),
        program_folder_(std::move(program_folder)) {}

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
    try {
      DUNLIN_ASSIGN_OR_RETURN(
          auto executable,
          pjrt::PjrtExecutable::create(client_, program, weights, options, spec_, program_folder_));
      return std::unique_ptr<Executable>(std::move(executable));
    } catch (const std::bad_alloc&) {
      return Error{ErrorKind::does_not_fit, "loading the weights needs more memory than there is"};
    } catch (const std::length_error&) {
      return Error{ErrorKind::does_not_fit, "loading the weights needs more memory than there is"};
    }
  }

 private:
  std::shared_ptr<const pjrt::Client> client_;
  pjrt::CompileSpec spec_;
  std::string program_folder_;
};

std::string default_program_folder() {
  if (const char* const folder = std::getenv("DUNLIN_COMPILE_CACHE")) return folder;
  const auto cache = cache_folder();
  return cache ? *cache + "/compiled" : "";
}

// An option that the compiler does not take is told at once, not after the weights were loaded.
Result<void> check_options(const pjrt::Client& client, pjrt::CompileSpec spec) {
  if (spec.options.empty()) return {};
  spec.device_ids = {client.device_ids().front()};
  pjrt::Builder b;
  const auto compiled = client.compile(b.finish({b.scalar(0)}), spec);
  return compiled.ok() ? Result<void>() : compiled.error().with_context("--xla-option");
}

}  // namespace

Result<std::unique_ptr<Backend>> make_pjrt_backend(const PjrtOptions& options) {
  pjrt::CompileSpec spec;
  for (const std::string& text : options.xla_options) {
    DUNLIN_ASSIGN_OR_RETURN(auto option, pjrt::parse_option(text));
    spec.options.push_back(std::move(option));
  }
  DUNLIN_ASSIGN_OR_RETURN(const pjrt::PluginPlace place, pjrt::find_plugin(options.device));
  DUNLIN_ASSIGN_OR_RETURN(const pjrt::Plugin* plugin, pjrt::Plugin::load(place.path));
  // The CPU plug-in makes four devices when it is not asked for one.
  const int64_t virtual_devices = place.name == "cpu-xla" ? 1 : 0;
  DUNLIN_ASSIGN_OR_RETURN(auto client, pjrt::Client::create(*plugin, virtual_devices));
  DUNLIN_RETURN_IF_ERROR(check_options(*client, spec));
  return std::unique_ptr<Backend>(
      std::make_unique<PjrtBackend>(std::move(client), std::move(spec),
                                    options.program_folder.value_or(default_program_folder())));
}

}  // namespace dunlin

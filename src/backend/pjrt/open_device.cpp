#include "backend/pjrt/open_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "backend/pjrt/client/local_calls.h"
#include "backend/pjrt/discover.h"
#include "backend/pjrt/isolate/remote_calls.h"
#include "backend/pjrt/sharding/layout.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "base/user_folders.h"

namespace dunlin::pjrt {
namespace {

// Each virtual device has threads of its own.
constexpr int64_t kMostVirtualDevices = 256;

std::string default_program_folder() {
  if (const char* const folder = std::getenv("DUNLIN_COMPILE_CACHE")) return folder;
  const auto cache = cache_folder();
  return cache ? *cache + "/compiled" : "";
}

// A number for every device, which is theirs already.
std::string smallest_program(int64_t devices) {
  const TensorType type{Element::i32, {1}};
  if (devices == 1) {
    Builder b;
    return b.finish({b.constant(type, 0.0)});
  }
  const Splits own = {{"device"}};
  Builder b({.axes = {{"device", devices}}});
  return b.finish({b.argument(type, "", own)}, {own});
}

// An option that the compiler does not take is told at once, not after the weights were loaded; by a
// program of as many partitions as those of the model have, because some options are for several only,
// and libtpu compiles for no part of a slice.
Result<void> check_options(const Client& client, int64_t devices, CompileSpec spec) {
  if (spec.options.empty()) return {};
  spec.device_ids = client.device_ids();
  spec.device_ids.resize(static_cast<size_t>(devices));
  spec.shardy = devices > 1;
  const auto compiled = client.compile(smallest_program(devices), spec);
  return compiled.ok() ? Result<void>() : compiled.error().with_context("--xla-option");
}

}  // namespace

Result<CompileSpec> parse_options(const std::vector<std::string>& options) {
  CompileSpec spec;
  for (const std::string& text : options) {
    DUNLIN_ASSIGN_OR_RETURN(auto option, parse_option(text));
    spec.options.push_back(std::move(option));
  }
  return spec;
}

Result<int64_t> steps_of_call(const PjrtOptions& options, Platform platform) {
  if (options.steps_per_call < 0 || options.steps_per_call > kMostStepsPerCall) {
    return usage_error(fmt::format("--steps-per-call {}: expected 1 to {}", options.steps_per_call,
                                   kMostStepsPerCall));
  }
  if (options.steps_per_call > 0) return options.steps_per_call;
  return platform == Platform::gpu ? kStepsPerCallOnGpus : 1;
}

Result<std::shared_ptr<PluginCalls>> load_plugin(const std::string& path,
                                                 const std::optional<IsolateOptions>& isolate) {
  return isolate ? RemoteCalls::load(path, *isolate) : LocalCalls::load(path);
}

Result<OpenDevice> open_device(const PjrtOptions& options) {
  OpenDevice device{.mesh = options.mesh};
  DUNLIN_RETURN_IF_ERROR(check_axes(options.mesh));
  DUNLIN_ASSIGN_OR_RETURN(device.spec, parse_options(options.xla_options));
  DUNLIN_ASSIGN_OR_RETURN(const PluginPlace place, find_plugin(options.device));
  DUNLIN_ASSIGN_OR_RETURN(auto calls, load_plugin(place.path, options.isolate));
  // The CPU plug-in makes four devices when it is not asked for a number.
  const int64_t virtual_devices =
      place.name == "cpu-xla" ? std::min(options.mesh.devices(), kMostVirtualDevices) : 0;
  DUNLIN_ASSIGN_OR_RETURN(device.client, Client::create(std::move(calls), virtual_devices));
  if (device.client->devices() < options.mesh.devices()) {
    return Error{ErrorKind::device,
                 fmt::format("--mesh {}: {} devices, but {} has {}", to_string(options.mesh),
                             options.mesh.devices(), options.device, device.client->devices())};
  }
  DUNLIN_ASSIGN_OR_RETURN(device.steps,
                          steps_of_call(options, platform_of(device.client->platform())));
  DUNLIN_RETURN_IF_ERROR(check_options(*device.client, options.mesh.devices(), device.spec));
  device.program_folder = options.program_folder.value_or(default_program_folder());
  return device;
}

}  // namespace dunlin::pjrt

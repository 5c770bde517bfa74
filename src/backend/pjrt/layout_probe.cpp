#include "backend/pjrt/layout_probe.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/pjrt/compiler.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/stablehlo/builder.h"
#include "base/log.h"

namespace dunlin::pjrt {
namespace {

// A page of one head.
const TensorType kProbed{Element::bf16, {1, 1, kPageTokens, 128}};

bool is_taken(const std::string& plugin, int64_t devices, const TryCompile& compile) {
  const auto pinned = compile(layout_probe(devices, /*pinned=*/true));
  if (pinned.ok() || !compile(layout_probe(devices, /*pinned=*/false)).ok()) return true;
  log_warning(fmt::format(
      "{} takes no layout of the KV cache and chooses its own, which loops may copy: {}", plugin,
      pinned.error().message));
  return false;
}

}  // namespace

std::string layout_probe(int64_t devices, bool pinned) {
  const LoweringOptions options{.pins_layout = pinned};
  const std::string argument = kv_attributes(kProbed, options, 0);
  const std::vector<std::string> results = kv_attributes(std::vector<TensorType>{kProbed}, options);
  if (devices == 1) {
    Builder b;
    return b.finish({b.argument(kProbed, argument)}, {}, results);
  }
  const Splits own = {{"device"}};
  Builder b({.axes = {{"device", devices}}});
  return b.finish({b.argument(kProbed, argument, own)}, {own}, results);
}

bool takes_layouts(const std::string& plugin, int64_t devices, const TryCompile& compile) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, int64_t>, bool> known;
  const std::lock_guard lock(mutex);
  const std::pair key(plugin, devices);
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  return known[key] = is_taken(plugin, devices, compile);
}

bool takes_layouts(const Client& client, int64_t devices, CompileSpec spec) {
  spec.device_ids = client.device_ids();
  spec.device_ids.resize(static_cast<size_t>(devices));
  spec.shardy = devices > 1;
  spec = with_own_options(client.plugin(), std::move(spec));
  return takes_layouts(client.plugin().path, devices, [&](const std::string& text) -> Result<void> {
    const auto compiled = client.compile(text, spec);
    return compiled.ok() ? Result<void>() : compiled.error();
  });
}

bool takes_layouts(const PluginFacts& plugin, const Topology& topology, const CompileSpec& spec) {
  return takes_layouts(plugin.path, topology.devices(),
                       [&](const std::string& text) -> Result<void> {
                         const auto compiled = topology.compile(text, spec);
                         return compiled.ok() ? Result<void>() : compiled.error();
                       });
}

}  // namespace dunlin::pjrt

#include "backend/pjrt/layout_probe.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <string>
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

enum class Answer { taken, refused, unknown };

Answer answer_of(const Result<void>& pinned, int64_t devices, const TryCompile& compile) {
  if (pinned.ok()) return Answer::taken;
  if (pinned.error().kind != ErrorKind::device) return Answer::unknown;
  return compile(layout_probe(devices, /*pinned=*/false)).ok() ? Answer::refused : Answer::unknown;
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
  const std::pair key(plugin, devices);
  {
    const std::lock_guard lock(mutex);
    if (const auto found = known.find(key); found != known.end()) return found->second;
  }
  // Not under the lock: a plug-in that hangs must not stop the others.
  const Result<void> pinned = compile(layout_probe(devices, /*pinned=*/true));
  const Answer answer = answer_of(pinned, devices, compile);
  if (answer == Answer::unknown) return true;
  const std::lock_guard lock(mutex);
  const bool is_first = known.emplace(key, answer == Answer::taken).second;
  if (answer == Answer::taken) return true;
  if (is_first) {
    log_warning(fmt::format(
        "{} takes no layout of the KV cache and chooses its own, which loops may copy: {}", plugin,
        pinned.error().message));
  }
  return false;
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

// Whether a plug-in's compiler takes the layouts of the KV arrays (lower/kv_arrays.cpp): asked through
// PluginCalls, and so of a plug-in in a process of its own, too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/client/compile_options.h"
#include "backend/pjrt/client/compiled_program.h"
#include "backend/pjrt/client/plugin_calls.h"
#include "base/result.h"

namespace dunlin::pjrt {

// StableHLO text, on each of so many devices: an array of the cache's form that is donated and given
// back; `pinned` in its layout, else in the plug-in's.
std::string layout_probe(int64_t devices, bool pinned);

using TryCompile = std::function<Result<void>(const std::string& text)>;

// Compiles layout_probe(), once for each plug-in and number of devices in a process. A plug-in that
// refuses it pinned, and takes it otherwise, is a warning: its layouts are its own then, and loops may
// copy the cache. What else is wrong (an option that it refuses, no memory, a plug-in that has ended) the
// programs themselves will tell, and whoever asks next compiles again.
bool takes_layouts(const std::string& plugin, int64_t devices, const TryCompile& compile);

// With the options that programs for the first devices of a client are compiled with; `spec` is the
// caller's.
bool takes_layouts(const Client& client, int64_t devices, CompileSpec spec);
// For all devices of a topology; `spec` is that of its programs.
bool takes_layouts(const PluginFacts& plugin, const Topology& topology, const CompileSpec& spec);

}  // namespace dunlin::pjrt

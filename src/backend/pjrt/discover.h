// Where the plug-ins of this machine are.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin::pjrt {

struct PluginPlace {
  std::string name;  // "cpu-xla", "tpu", "gpu"
  std::string path;  // empty: not found
};

// Every plug-in with a known name, found or not, and those that PJRT_NAMES_AND_LIBRARY_PATHS
// ("name:path,name:path", the variable that JAX reads) adds.
std::vector<PluginPlace> known_plugins();

// `device` is a name of known_plugins() or the path of a plug-in. An error of kind device says how
// to get what is missing.
Result<PluginPlace> find_plugin(const std::string& device);

// The folder of NVIDIA's ptxas and libdevice, which XLA's compiler for CUDA starts and reads, beside
// the plug-in or in another folder of Python packages. Empty: the compiler looks for itself, in
// /usr/local/cuda and in PATH.
std::string find_cuda_tools(const std::string& plugin_path);

}  // namespace dunlin::pjrt

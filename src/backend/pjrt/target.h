// Target: a device that need not be here, by the name that --topology takes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dunlin::pjrt {

struct Target {
  std::string plugin = {};    // whose compiler makes programs for it, as known_plugins() names it
  std::string topology = {};  // as the plug-in names it
  // The plug-in's, as text.
  std::vector<std::pair<std::string, std::string>> options = {};
  int64_t chips = 1;         // of the grid; a chip may have two devices
  int64_t memory_bytes = 0;  // that a program can use; 0: the compiler knows, and refuses more
};

// "h100", "h200", or a slice of TPUs with its grid: "v5e:1x1", "v4:2x2x1". Error (kind usage): a name
// of neither form. Whether the plug-in has such a slice, it says itself.
Result<Target> find_target(const std::string& name);

}  // namespace dunlin::pjrt

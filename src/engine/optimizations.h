// The one registry of optimisations that can be turned off: those of every back end, and the
// engine's own. None of them changes a bit of a result.
#pragma once

#include <string>
#include <vector>

#include "backend/api.h"
#include "base/result.h"

namespace dunlin {

// Prompts that begin alike share the pages of the KV cache.
inline constexpr const char* kPrefixReuse = "prefix_reuse";

// In an order such that what rests on others comes before them.
std::vector<Optimization> all_optimizations();

// Error (kind usage): a name that is none; it lists those there are.
Result<void> check_optimizations(const std::vector<std::string>& names);

}  // namespace dunlin

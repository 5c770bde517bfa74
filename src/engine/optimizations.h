// The one registry of optimisations that can be turned off: those of every back end, and the
// engine's own. None of them changes a bit of a result, but for `precision`.
#pragma once

#include <string>
#include <vector>

#include "backend/api.h"
#include "base/result.h"

namespace dunlin {

// Prompts that begin alike share the pages of the KV cache.
inline constexpr const char* kPrefixReuse = "prefix_reuse";

// Keys and values are kept from one token to the next, and from one request of a session to the
// next. Without it every token that is drawn computes its whole sequence again.
inline constexpr const char* kKvCache = "kv-cache";

// A back end compiles the Program. Without it the reference executor runs its nodes one by one.
inline constexpr const char* kCompiled = "compiled";

// Weights and arithmetic have the bits of the model's formats. Without it weights are decoded to
// float32 when they are loaded, and everything is computed in float32: the results of --precision
// f32.
inline constexpr const char* kPrecision = "precision";

// Those that change no bit, in an order such that what rests on others comes before them.
std::vector<Optimization> all_optimizations();

// `precision`, which changes results.
Optimization precision_optimization();

// Error (kind usage): a name that is none of these; it lists those there are.
Result<void> check_optimizations(const std::vector<std::string>& names);

}  // namespace dunlin

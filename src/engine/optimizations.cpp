#include "engine/optimizations.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference.h"

namespace dunlin {

std::vector<Optimization> all_optimizations() {
  std::vector<Optimization> all = make_cpu_backend()->optimizations();
  const auto reference = make_reference_backend()->optimizations();
  all.insert(all.end(), reference.begin(), reference.end());
  all.push_back({kPrefixReuse, "prompts that begin alike share pages of the KV cache"});
  all.push_back(
      {kKvCache,
       "keys and values of earlier tokens are kept; without it each token computes them"});
  all.push_back(
      {kCompiled, "a back end compiles the model; without it the reference executor runs"});
  return all;
}

Optimization precision_optimization() {
  return {kPrecision,
          "weights and arithmetic in the bits of the model's formats; without it float32"};
}

Result<void> check_optimizations(const std::vector<std::string>& names) {
  auto all = all_optimizations();
  all.push_back(precision_optimization());
  for (const std::string& name : names) {
    if (std::ranges::find(all, name, &Optimization::name) != all.end()) continue;
    std::vector<std::string> known;
    for (const Optimization& each : all) known.push_back(each.name);
    return usage_error(
        fmt::format("\"{}\" is no optimisation; there are {}", name, fmt::join(known, ", ")));
  }
  return {};
}

}  // namespace dunlin

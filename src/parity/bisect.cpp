#include "parity/bisect.h"

#include <algorithm>

#include "engine/optimizations.h"

namespace dunlin {
namespace {

using Names = std::vector<std::string>;

Names part(const Names& names, size_t index, size_t parts) {
  const size_t begin = names.size() * index / parts;
  const size_t end = names.size() * (index + 1) / parts;
  return Names(names.begin() + static_cast<int64_t>(begin),
               names.begin() + static_cast<int64_t>(end));
}

Names without_part(const Names& names, size_t index, size_t parts) {
  Names rest;
  for (size_t i = 0; i < parts; ++i) {
    if (i == index) continue;
    const Names each = part(names, i, parts);
    rest.insert(rest.end(), each.begin(), each.end());
  }
  return rest;
}

}  // namespace

Result<Names> smallest_disabling(Names names,
                                 const std::function<Result<bool>(const Names&)>& passes) {
  size_t parts = 2;
  while (names.size() > 1) {
    std::optional<Names> smaller;
    size_t next_parts = 2;
    for (size_t i = 0; i < parts && !smaller; ++i) {
      Names candidate = part(names, i, parts);
      DUNLIN_ASSIGN_OR_RETURN(const bool passed, passes(candidate));
      if (passed) smaller = std::move(candidate);
    }
    // With two parts, what remains without one is the other.
    for (size_t i = 0; i < parts && parts > 2 && !smaller; ++i) {
      Names candidate = without_part(names, i, parts);
      DUNLIN_ASSIGN_OR_RETURN(const bool passed, passes(candidate));
      if (!passed) continue;
      smaller = std::move(candidate);
      next_parts = parts - 1;
    }
    if (smaller) {
      names = *std::move(smaller);
      parts = std::clamp<size_t>(next_parts, 2, std::max<size_t>(2, names.size()));
    } else if (parts < names.size()) {
      parts = std::min(2 * parts, names.size());
    } else {
      break;
    }
  }
  return names;
}

Result<Bisection> bisect(const std::string& model_path, const std::string& reference_path,
                         const ParityOptions& options,
                         const std::function<Result<void>(const Names&)>& on_comparison) {
  ParityOptions quiet = options;
  quiet.dump.clear();
  quiet.watch = nullptr;
  Bisection result;
  const auto passes = [&](const Names& disabled) -> Result<bool> {
    DUNLIN_RETURN_IF_ERROR(on_comparison(disabled));
    ++result.comparisons;
    quiet.disabled = options.disabled;
    quiet.disabled.insert(quiet.disabled.end(), disabled.begin(), disabled.end());
    DUNLIN_ASSIGN_OR_RETURN(const ParityReport report,
                            compare_with_reference(model_path, reference_path, quiet));
    return report.pass();
  };
  Names names;
  for (const Optimization& each : all_optimizations()) {
    // Without `compiled` it is the reference back end, which has its turn below.
    const bool is_tried = each.name != kCompiled &&
                          std::ranges::find(options.disabled, each.name) == options.disabled.end();
    if (is_tried) names.push_back(each.name);
  }
  DUNLIN_ASSIGN_OR_RETURN(const bool without_any, passes(names));
  if (without_any) {
    DUNLIN_ASSIGN_OR_RETURN(result.culprits, smallest_disabling(names, passes));
    return result;
  }
  if (options.backend == "reference") return result;
  quiet.backend = "reference";
  quiet.isa.clear();
  DUNLIN_ASSIGN_OR_RETURN(result.reference_passes, passes({}));
  return result;
}

}  // namespace dunlin

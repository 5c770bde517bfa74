// Bisection: when values differ from a reference, which optimisations are to blame.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "parity/parity.h"

namespace dunlin {

// A smallest set of `names` that makes `passes` true when it is turned off: none of it can be left
// out. `passes` is true for all of `names`. Halves first: one culprit of n takes about 2 log2 n
// calls (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002: ddmin).
// Of two sets that would do, the one that comes first in `names`.
Result<std::vector<std::string>> smallest_disabling(
    std::vector<std::string> names,
    const std::function<Result<bool>(const std::vector<std::string>& disabled)>& passes);

struct Bisection {
  // Without these every tensor passes, with all but any one of them off some fails. Empty: turning
  // everything off does not help.
  std::vector<std::string> culprits = {};
  // When nothing is to blame: whether the reference back end passes.
  std::optional<bool> reference_passes = {};
  int64_t comparisons = 0;
};

// For a comparison that fails with these options, whose own `disabled` stay off. Nothing is dumped
// and nobody watches. `on_comparison` is called before each, with what is turned off in it; its
// error ends the bisection and is returned.
Result<Bisection> bisect(
    const std::string& model_path, const std::string& reference_path, const ParityOptions& options,
    const std::function<Result<void>(const std::vector<std::string>& disabled)>& on_comparison);

}  // namespace dunlin

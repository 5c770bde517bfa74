#include "backend/pjrt/client/cycle_estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "program/layer_names.h"

namespace dunlin::pjrt {
namespace {

// How often computations run: those that nobody calls once, others as often as their callers, times
// the turns of a loop. In double, because products of turns need not fit anything else.
class Runs {
 public:
  explicit Runs(const std::vector<HloOperation>& operations) {
    for (const HloOperation& it : operations) {
      const auto turns = static_cast<double>(std::max<int64_t>(1, it.turns));
      for (const int64_t called : it.calls) callers_[called].push_back({it.computation_id, turns});
    }
  }

  double of(int64_t computation) {
    if (const auto known = known_.find(computation); known != known_.end()) return known->second;
    known_[computation] = 0;  // for one that would call itself, which there is not
    const auto callers = callers_.find(computation);
    double runs = callers == callers_.end() ? 1 : 0;
    if (callers != callers_.end()) {
      for (const auto& [caller, turns] : callers->second) runs += turns * of(caller);
    }
    return known_[computation] = runs;
  }

 private:
  std::map<int64_t, std::vector<std::pair<int64_t, double>>> callers_;
  std::map<int64_t, double> known_;
};

std::string part_name(const HloOperation& operation) {
  if (!operation.source.empty()) return without_numbers(operation.source);
  return operation.name.substr(0, operation.name.find('.'));
}

int64_t rounded(double count) {
  constexpr double kMost = 9e18;  // below the largest int64_t
  return std::llround(std::min(count, kMost));
}

// Computations with an estimate in them, or in what they call.
std::set<int64_t> estimated_computations(const std::vector<HloOperation>& operations) {
  std::set<int64_t> found;
  for (const HloOperation& it : operations) {
    if (it.estimated_cycles > 0) found.insert(it.computation_id);
  }
  for (size_t before = 0; before != found.size();) {
    before = found.size();
    for (const HloOperation& it : operations) {
      const auto is_found = [&found](int64_t id) { return found.contains(id); };
      if (std::ranges::any_of(it.calls, is_found)) found.insert(it.computation_id);
    }
  }
  return found;
}

int64_t open_loops(const std::vector<HloOperation>& operations) {
  const std::set<int64_t> estimated = estimated_computations(operations);
  return std::ranges::count_if(operations, [&estimated](const HloOperation& it) {
    return it.opcode == "while" && it.turns == 0 &&
           std::ranges::any_of(it.calls, [&](int64_t id) { return estimated.contains(id); });
  });
}

}  // namespace

std::optional<CycleEstimate> estimate_cycles(const std::vector<HloOperation>& operations) {
  struct Sum {
    double operations = 0;
    double cycles = 0;
  };
  std::map<std::pair<std::string, std::string>, Sum> sums;
  Runs runs(operations);
  double cycles = 0;
  for (const HloOperation& it : operations) {
    if (it.estimated_cycles == 0) continue;
    const double times = runs.of(it.computation_id);
    const double needed = times * static_cast<double>(it.estimated_cycles);
    Sum& sum = sums[{part_name(it), it.opcode}];
    sum.operations += times;
    sum.cycles += needed;
    cycles += needed;
  }
  if (sums.empty()) return std::nullopt;
  CycleEstimate estimate{.cycles = rounded(cycles), .open_loops = open_loops(operations)};
  for (const auto& [name, sum] : sums) {
    estimate.parts.push_back({.name = name.first,
                              .opcode = name.second,
                              .operations = rounded(sum.operations),
                              .cycles = rounded(sum.cycles)});
  }
  std::ranges::sort(estimate.parts, {}, [](const CyclePart& part) {
    return std::tuple(-part.cycles, part.name, part.opcode);
  });
  return estimate;
}

}  // namespace dunlin::pjrt

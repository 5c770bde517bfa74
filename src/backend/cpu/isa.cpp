// The ordered list of instruction sets with a printable reason for every refusal.
#include "backend/cpu/isa.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>

namespace dunlin::cpu {

namespace {

std::string refusal(Isa isa, const CpuFeatures& features) {
  if (includes(features.best, isa)) return "";
  std::string missing;
  for (const Isa lower : isas_up_to(isa)) {
    for (const std::string_view flag : required_flags(lower)) {
      if (std::ranges::find(features.flags, flag) != features.flags.end()) continue;
      missing += missing.empty() ? "" : ", ";
      missing += flag;
    }
  }
  return missing.empty() ? "the operating system refuses AMX tiles: " + features.tile_refusal
                         : "the processor lacks " + missing;
}

std::string usable_names(const std::vector<IsaCandidate>& candidates) {
  std::string names;
  for (const IsaCandidate& candidate : candidates) {
    if (!candidate.refusal.empty()) continue;
    names += names.empty() ? "" : ", ";
    names += isa_name(candidate.isa);
  }
  return names;
}

}  // namespace

std::vector<IsaCandidate> isa_candidates(const CpuFeatures& features) {
  std::vector<IsaCandidate> candidates;
  for (int i = kIsas; i-- > 0;) {
    const Isa isa = static_cast<Isa>(i);
    candidates.push_back({isa, refusal(isa, features)});
  }
  return candidates;
}

Result<Isa> choose_isa(const std::string& requested, const std::string& asked_by,
                       const CpuFeatures& features) {
  const std::vector<IsaCandidate> candidates = isa_candidates(features);
  if (requested.empty()) return features.best;
  const std::optional<Isa> isa = parse_isa(requested);
  if (!isa) {
    return usage_error(fmt::format("{}: \"{}\" is no instruction set; this machine has {}",
                                   asked_by, requested, usable_names(candidates)));
  }
  const auto chosen = std::ranges::find(candidates, *isa, &IsaCandidate::isa);
  if (!chosen->refusal.empty()) {
    return Error{ErrorKind::device,
                 fmt::format("{}: {} is not available: {}; this machine has {}", asked_by,
                             isa_name(*isa), chosen->refusal, usable_names(candidates))};
  }
  return *isa;
}

Result<Isa> select_isa(const std::string& option) {
  const char* variable = std::getenv("DUNLIN_ISA");
  if (option.empty() && variable != nullptr) {
    return choose_isa(variable, "DUNLIN_ISA", cpu_features());
  }
  return choose_isa(option, "isa", cpu_features());
}

}  // namespace dunlin::cpu

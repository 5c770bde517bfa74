// The residency of a Program's weights: residency_plan.h over what weight_map.h finds in it, for the
// executable that runs with it, and for who only asks what it would be.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/residency_plan.h"
#include "backend/cpu/weight_map.h"
#include "base/result.h"
#include "program/program.h"

namespace dunlin::cpu {

// What one row's choices take in the layer with the largest experts.
int64_t bytes_of_a_row(const std::vector<MappedExperts>& stacks, int64_t per_row);

// `per_row`: experts that a row chooses in a layer, 0 without experts. `budget`: bytes of the weights
// that memory may hold.
ResidencyPlan plan_residency(const WeightMap& map, int64_t per_row, uint64_t budget);

// Backend::residency(); `held` is footprint() for the same arguments.
Result<Residency> residency_of(const Program& program, const WeightSource& source,
                               const CompileOptions& options, const Footprint& held,
                               uint64_t available);

}  // namespace dunlin::cpu

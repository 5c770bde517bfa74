// What a plan says of weights that are read from disk while the model runs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/plan_output.h"
#include "planner/plan.h"

namespace dunlin {

// The field `offload` of the plan; null where memory holds all weights.
nlohmann::ordered_json offload_json(const MeshEvaluation& mesh);

// What stays, what does not, and how long a decode step takes for that at best; empty where memory holds
// all weights.
std::string offload_text(const Plan& plan, const PlanHeading& heading);

}  // namespace dunlin

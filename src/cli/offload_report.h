// What --offload did, for people and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "backend/api.h"

namespace dunlin {

// The counters of `after` less those of `before`; sizes are those of `after`. Nothing where either is.
std::optional<OffloadStatistics> offload_between(const std::optional<OffloadStatistics>& before,
                                                 const std::optional<OffloadStatistics>& after);

// "offload  budget of 6.00 GB, 2.10 GB stay in memory, 0.0 MB are read in every step\nexperts  93.1 % of 768
// were in memory, ..\nread     ..\n"; empty where no weights are read while the model runs.
std::string offload_text(const std::optional<OffloadStatistics>& statistics);

// Fields in bytes and counts, and `expert_hit_rate`, null without experts; null where there are none.
nlohmann::ordered_json offload_json(const std::optional<OffloadStatistics>& statistics);

}  // namespace dunlin

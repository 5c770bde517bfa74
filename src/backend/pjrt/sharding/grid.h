// A mesh as StableHLO and Shardy name it: axes of more than one place, groups of devices that
// exchange something, and how arguments and results are split.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/pjrt/sharding/program_sharding.h"
#include "backend/pjrt/stablehlo/builder.h"

namespace dunlin::pjrt {

DeviceGrid grid_of(const Mesh& mesh);

// The devices that differ in nothing but their place on `axes`, in the order of those places.
DeviceGroups device_groups(const Mesh& mesh, const std::vector<MeshAxis>& axes);

Splits splits_of(const Mesh& mesh, const Layout& layout);
// Of the KV arrays [slots,K,positions,h] of a group: slots by parts of the batch.
Splits state_splits(const ProgramSharding& sharding, int32_t group);
// Of a list of which every device has its own.
Splits per_device_splits(const Mesh& mesh);
// Of an output whose leading dimension may be one of rows, logit rows or sequences.
Splits output_splits(const ProgramSharding& sharding, const Layout& layout, const Dims& dims);
// Of the ids [steps,rows] that a loop chose.
Splits chosen_splits(const ProgramSharding& sharding);

}  // namespace dunlin::pjrt

// Weights of random numbers in memory, and their arrays on a device.
#pragma once

#include <string>
#include <vector>

#include "backend/packed_forms.h"
#include "backend/pjrt/pack_weight.h"
#include "formats/weight_view.h"

namespace dunlin::pjrt {

// Encoded in the format; integers whose scales lie beside them have one per row.
WeightView random_weight(Format format, int64_t rows, int64_t columns);
std::vector<float> decoded(const WeightView& view);  // as the format's own decoder has it

// All formats that some platform packs.
std::vector<Format> packed_formats();

// What the arrays of a form say of a stack of matrices: [matrices, outputs, columns] in float32, by the
// definition of DeviceForm.
std::vector<float> values_of(const HostArrays& arrays, const DeviceForm& form, int64_t matrices,
                             int64_t outputs, int64_t columns);

}  // namespace dunlin::pjrt

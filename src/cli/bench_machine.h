// What `bench model` notes of the machine beside the times of a model.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "engine/model.h"

namespace dunlin {

// The most memory that this process held since it began, or since reset_peak_rss().
uint64_t peak_rss_bytes();
void reset_peak_rss();

// Read-only bandwidth, GB/s, of the model's number of threads over as many bytes as it streams; more
// than a gibibyte measures the same memory.
Result<double> stream_of(const Model& model);

// Operations per second that `dunlin plan --calibrate` once measured with these threads and this
// instruction set; nothing on another back end.
std::optional<double> calibrated_peak(const Model& model);

}  // namespace dunlin

// Whether a conversion that was ended may be gone on with.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "convert/tensor_stream.h"

namespace dunlin {

// The key of ResumableFile and AtomicFolder for the output of these tensors: 32 digits over the files
// they are read from (path, size, time of the last change), what becomes of each tensor, `settings`,
// and this program's file, for another build may encode otherwise.
std::string resume_key(std::span<const TensorPlan> tensors, std::string_view settings);

}  // namespace dunlin

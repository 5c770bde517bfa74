// Charts as files.
#pragma once

#include <string>

#include "base/result.h"

namespace dunlin {

// Writes `svg` to `name` in the folder, which is made where it is missing.
Result<void> write_chart(const std::string& folder, const std::string& name,
                         const std::string& svg);

}  // namespace dunlin

// Layouts through a reshape.
#pragma once

#include <optional>

#include "backend/pjrt/sharding/layout.h"
#include "program/dim.h"

namespace dunlin::pjrt {

// The layout of x [from] under the shape `to`: known sizes are dealt to the new dimensions,
// outermost first. Nothing where a new dimension would begin or end within an axis that is split.
std::optional<Layout> reshaped(const Mesh& mesh, const Layout& layout, const Dims& from,
                               const Dims& to);

}  // namespace dunlin::pjrt

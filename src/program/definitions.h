// Definitions: every semantic operation in basic operations. A back end without a kernel for one
// runs its definition.
#pragma once

#include <functional>

#include "program/program.h"

namespace dunlin {

// The Program with each semantic node for which `keep` is false replaced by its definition. Types
// of results, outputs, weights and state are unchanged; node names extend the original's.
Result<Program> expand(const Program& program, const std::function<bool(const Node&)>& keep);

}  // namespace dunlin

// What a compiler takes a program to need, from the cycles that it wrote to operations: libtpu does,
// other plug-ins do not. It ranks programs and shows what is large in one; as a time it is rough, since
// operations are added up as if none ran beside another, and some have no estimate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/pjrt/client/hlo_summary.h"

namespace dunlin::pjrt {

// Operations of one opcode that came from one line of a model, in all layers.
struct CyclePart {
  // The location without its numbers, "layers.*.mlp.gate"; where there is none the compiler's own name
  // without its number, "copy".
  std::string name = {};
  std::string opcode = {};
  int64_t operations = 0;  // that have an estimate, each as often as it runs
  int64_t cycles = 0;      // of all of them
};

struct CycleEstimate {
  // A loop's body counts as often as the compiler knows it to run, and once where it does not.
  int64_t cycles = 0;
  int64_t open_loops = 0;             // of the second kind, with an estimate within
  std::vector<CyclePart> parts = {};  // all of them: most cycles first, of equals by name
};

// Nothing where no operation has an estimate.
std::optional<CycleEstimate> estimate_cycles(const std::vector<HloOperation>& operations);

}  // namespace dunlin::pjrt

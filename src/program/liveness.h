// Liveness: when each value is read for the last time, and which values share their storage. It is
// what a planner of activation memory needs: two roots whose intervals do not overlap may use the
// same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"

namespace dunlin {

// Numbers of nodes, both inclusive. An input or a weight exists from -1; what an output needs lives
// to nodes.size(). A result is written by its node, so a node's operands and results overlap.
struct LiveInterval {
  int32_t first = 0;
  int32_t last = 0;
};

// All indexed by ValueId.
struct Liveness {
  std::vector<int32_t> last_use;      // of the value itself; its own node when nothing reads it
  std::vector<ValueId> storage_root;  // the value whose storage holds it: itself unless a view
  std::vector<LiveInterval> storage;  // of a root, with all its views; of others as their root's
};

// True when the node's result is its operand's elements in place: reshape, tap, and a slice that is
// contiguous (all dimensions before its axis are 1, stride 1).
bool is_view(const Program& program, const Node& node);

// The Program must be sound (verify()).
Liveness analyse_liveness(const Program& program);

}  // namespace dunlin

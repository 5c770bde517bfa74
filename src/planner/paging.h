// Paging: weights that are read from disk while the model runs (`--offload auto`), and what that adds to
// the time of a step.
//
//   at the least:  the dense weights that do not stay, and of the experts that the step chooses those that
//                  the room cannot hold, were the choice the best for it
//   expected:      of the chosen experts the share that the room does not hold, as if all were chosen
//                  equally often; a model's own choices are less even
//
// Dense weights are read while the step computes (backend/cpu/offload.h), so the step takes as long as the
// slower of the two. Experts are read once they are chosen, and waited for.
#pragma once

#include "backend/api.h"
#include "planner/roofline.h"

namespace dunlin {

struct Paging {
  Residency residency;
  double bytes_per_second = 0;  // of the disk; 0: not known, and only bytes are said
};

// Of one step on one device.
void add_paging(const Paging& paging, StepTime& step);

}  // namespace dunlin

// plan(): the whole answer for a model, a slice of devices and a workload.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/evaluate.h"
#include "planner/mesh_choice.h"

namespace dunlin {

// One way of parallelism over all devices of the slice.
struct Alternative {
  std::string strategy;
  std::string description;
  std::optional<MeshEvaluation> evaluation =
      {};  // of its mesh that sends least; absent: not possible
  std::string why_not = {};
  SentBytes sent = {};    // by a device in a decode step
  bool cheapest = false;  // sends least of those that fit
};

// From so many rows of a step on, `to` sends less than `from`.
struct Flip {
  std::string from;
  std::string to;
  double rows = 0;
};

struct Plan {
  Slice slice;
  Workload workload;
  MeshEvaluation chosen;
  std::string strategy;              // of the chosen mesh
  int64_t shortfall_bytes = 0;       // of a device; 0: it fits
  int64_t max_batch = 0;             // on all devices, at the context
  int64_t max_batch_per_device = 0;  // sequences that one device takes part in
  int64_t max_context = 0;           // for the batch; at most what the model was trained for
  std::vector<Alternative> alternatives = {};  // empty for one device
  std::vector<Flip> flips = {};                // between ways that split the weights
  // Where it does not fit: the smallest slice of the same kind that holds it, and the smallest of
  // the catalogue by memory.
  std::optional<Slice> smallest_slice = {};
  std::optional<Slice> smallest_device = {};
};

// With a mesh: that one, whose product must be the slice's devices (kind usage). Without: the mesh of
// the slice that decodes most tokens per second, of those that fit; the one that needs least memory
// where none does.
Result<Plan> make_plan(const PlannedModel& model, const Machine& machine,
                       const std::optional<MeshShape>& mesh, const Workload& workload);

// Whether some mesh of the slice holds the workload.
bool fits_slice(const PlannedModel& model, const Slice& slice, const Workload& workload);

}  // namespace dunlin

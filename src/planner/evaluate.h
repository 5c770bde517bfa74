// One mesh of devices under one workload: what it holds, how fast it is, how much it takes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "planner/memory.h"
#include "planner/paging.h"
#include "planner/roofline.h"

namespace dunlin {

// Answers of a model that fills in masks. Each is a canvas, the prompt and its masks, of which every
// pass computes all positions, or those of a block where a cache has the others (the prefix and dual
// caches of Fast-dLLM, arXiv 2505.22618, which open each block with a pass over the canvas).
struct CanvasWorkload {
  int64_t masks = 128;
  int64_t steps = 128;  // passes of an answer, those that open a block among them
  int64_t block = 0;    // 0: no cache
  bool suffix = false;  // what is behind the block is computed, too: the prefix cache

  int64_t blocks() const { return block > 0 ? (masks + block - 1) / block : 0; }
};

struct Workload {
  int64_t batch = 1;           // sequences at a time, on all devices
  int64_t context = 4096;      // positions of each
  int64_t prompt = 512;        // tokens of each prompt
  int64_t chunk = 512;         // most rows of a step of the prompts
  bool all_logits = false;     // of every prompt row; of a canvas not of its masks alone
  double fill = 1;             // share of the context that a decode step finds filled, on average
  int64_t max_context = 4096;  // positions the model was trained for
  std::optional<CanvasWorkload> canvas = {};  // nothing: token after token
};

// What a replica holds for so many of the workload's sequences at this context: as the engine plans
// its largest step, for canvases as many whole ones as the chunk has rows for, and at least one.
Capacity capacity_for(const Workload& workload, int64_t sequences, int64_t context);

// The memory of a replica on devices whose back end says so itself (the CPU's).
using MemoryOf = std::function<Result<DeviceMemory>(const Capacity& capacity)>;

// What memory holds of the weights where it need not hold all.
using ResidencyOf = std::function<Result<Residency>(const Capacity& capacity)>;

struct Machine {
  Slice slice;
  MemoryOf memory = {};              // empty: accelerator_memory()
  int64_t most_sequences = 1 << 20;  // of a replica, that the back end takes
  // Of one device that offloads, whose `memory` counts what is held; empty: memory holds all weights.
  ResidencyOf residency = {};
  double disk_bytes_per_second = 0;  // 0: not known
};

// Groups of devices that share no sequence.
int64_t replicas(const MeshShape& shape);
// Sequences of the fullest replica.
int64_t sequences_per_replica(const MeshShape& shape, int64_t batch);

struct Phase {
  StepTime step;     // one step
  double steps = 1;  // of it
  double best_seconds = 0;
  double expected_seconds = 0;
};

struct MeshEvaluation {
  MeshShape shape;
  Mesh mesh;
  DeviceMemory memory;
  bool fits = false;
  std::optional<Paging> paging = {};  // of a machine that offloads
  Phase prefill;  // of all prompts of the batch; a pass over all its canvases with all masks
  // One token for each sequence; of canvases a step of each, with half of the masks on average.
  Phase decode;
  double tokens_per_second = 0;  // decoded by all sequences together, expected
  double best_tokens_per_second = 0;
};

// Errors: a mesh that the Program cannot be split over (kind usage), what the back end says.
Result<MeshEvaluation> evaluate_mesh(const PlannedModel& model, const Machine& machine,
                                     const MeshShape& shape, const Workload& workload);

// Only the memory of it.
Result<DeviceMemory> memory_of(const PlannedModel& model, const Machine& machine,
                               const MeshShape& shape, const Capacity& capacity);

// The largest batch on all devices that fits the context, and the largest context for the batch; 0
// where nothing does. Errors as evaluate_mesh()'s.
Result<int64_t> largest_batch(const PlannedModel& model, const Machine& machine,
                              const MeshShape& shape, const Workload& workload);
Result<int64_t> largest_context(const PlannedModel& model, const Machine& machine,
                                const MeshShape& shape, const Workload& workload);

}  // namespace dunlin

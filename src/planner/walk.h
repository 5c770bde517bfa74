// The walk: what every operation of a Program costs one device of a mesh in one step, from the
// operation's own shapes and the sharding table. No model is known here.
//
// Counted are multiplications of matrices (2 per weight and row, 4 per query, key and head
// dimension), weights and cached keys and values read once, and what devices send each other.
// Activations are taken to stay on the chip, and other arithmetic to hide behind the reads, but on
// processors with measured rates, for which elements of activations and scores are counted, too
// (planner/roofline.h).
#pragma once

#include <cstdint>
#include <vector>

#include "planner/storage.h"
#include "program/liveness.h"
#include "program/mesh.h"
#include "program/program.h"
#include "program/value_axes.h"
#include "step/step.h"

namespace dunlin {

// One step of one replica: the sequences that a device takes part in.
struct StepShape {
  int64_t sequences = 1;
  int64_t rows_each = 1;
  int64_t logit_rows = 1;
  double cached = 0;  // positions of a sequence before the step's rows, on average
  RowClass row_class = RowClass::generated;

  int64_t rows() const { return sequences * rows_each; }
};

enum class CollectiveKind : uint8_t { all_reduce, all_gather, all_to_all, send };

struct Collective {
  CollectiveKind kind = CollectiveKind::all_reduce;
  int64_t devices = 1;  // that take part
  double bytes = 0;     // that each of them sends
};

struct NodeCost {
  int32_t node = -1;
  WeightId weight = -1;     // the matrix it multiplies by; -1: none
  double flops = 0;         // of matrices
  double weight_bytes = 0;  // read
  double kv_bytes = 0;      // read
  // Of activations: those that its matrices read and write, each row of each matrix counted.
  double elements = 0;
  // Of attention: products of a query and a key, of all rows, and of one row of each sequence.
  double scores = 0;
  double row_scores = 0;
  std::vector<Collective> collectives;
};

// What the planner knows of a Program whatever the mesh. The Program outlives it.
struct PlannedModel {
  PlannedModel(const Program& recorded, WeightStorage weights, Storage of_keys, Storage of_values);

  const Program* program;
  WeightStorage storage;        // by WeightId
  Storage keys, values;         // of the KV cache
  int64_t ffn_unit;             // elements of the ffn axis that stay together (program/shares.h)
  std::vector<ValueAxes> axes;  // by ValueId
  Liveness live;
};

struct ShardedModel {
  const PlannedModel& model;
  Mesh mesh;
};

inline constexpr double kActivationBytes = 2;  // of an element that devices send each other

// One entry for each node, in order.
std::vector<NodeCost> walk(const ShardedModel& sharded, const StepShape& step);

// Bytes of a weight on one device where it lies (fsdp splits it), and as it is used (gathered).
int64_t resting_bytes(const ShardedModel& sharded, WeightId weight);
int64_t gathered_bytes(const ShardedModel& sharded, WeightId weight);

// Positions that the step's rows see and that are read for a sequence, on average.
double visible_positions(const AttentionAttributes& attention, const StepShape& step);
double read_positions(const AttentionAttributes& attention, const StepShape& step);

// Experts that some row of the step chooses, of `experts`, when each row chooses k at random:
// E (1 - (1 - k / E)^rows).
double touched_experts(int64_t experts, int64_t k, int64_t rows);

}  // namespace dunlin

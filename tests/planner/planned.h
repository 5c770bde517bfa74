// Small planned models for the tests of this folder.
#pragma once

#include <memory>

#include "planner/walk.h"
#include "program/sharding.h"
#include "support/blocks.h"

namespace dunlin {

inline Program dream_program(const DreamSizes& sizes, bool stateful = true) {
  return record("dream", {.taps = {}, .stateful = stateful},
                [&sizes](Recorder& recorder) { record_dream(recorder, sizes); })
      .value();
}

inline Program gpt_oss_program(const GptOssSizes& sizes) {
  return record("gpt_oss", {}, [&sizes](Recorder& recorder) { record_gpt_oss(recorder, sizes); })
      .value();
}

inline PlannedModel planned(const Program& program, const std::string& format = "BF16",
                            const std::string& kv = "bf16") {
  WeightStorage storage(program.weights.size());
  if (!requantize(program, {.matrices = format, .vocabulary = {}}, storage).ok()) std::abort();
  const Storage cache = parse_kv_storage(kv).value();
  return {program, storage, cache, cache};
}

inline ShardedModel sharded(const PlannedModel& model, const MeshShape& shape) {
  return {model, device_mesh(*model.program, shape).value()};
}

// Elements of all weights of two or three dimensions whose names hold `part`.
inline double matrix_elements(const Program& program, const std::string& part) {
  double sum = 0;
  for (const WeightDeclaration& weight : program.weights) {
    if (weight.dims.size() < 2 || weight.name.find(part) == std::string::npos) continue;
    double product = 1;
    for (const AxisList& dim : weight.dims) product *= static_cast<double>(extent(dim));
    sum += product;
  }
  return sum;
}

struct WalkSum {
  double flops = 0, weight_bytes = 0, kv_bytes = 0, sent_bytes = 0;
  int collectives = 0;
};

inline WalkSum sum_of(const std::vector<NodeCost>& costs) {
  WalkSum sum;
  for (const NodeCost& cost : costs) {
    sum.flops += cost.flops;
    sum.weight_bytes += cost.weight_bytes;
    sum.kv_bytes += cost.kv_bytes;
    for (const Collective& collective : cost.collectives) sum.sent_bytes += collective.bytes;
    sum.collectives += static_cast<int>(cost.collectives.size());
  }
  return sum;
}

}  // namespace dunlin

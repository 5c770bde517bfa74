// Where in memory the weights lie that each step of an executable reads: dense weights in groups, one of
// each layer and of what is between layers, and the matrices of single experts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backend/cpu/fuse.h"
#include "backend/cpu/pager.h"
#include "backend/cpu/weights.h"
#include "program/program.h"

namespace dunlin::cpu {

// Weights that every token reads; without the table of an embedding that is only looked up, of which a
// token reads one row.
struct DenseGroup {
  bool layer = false;
  std::vector<MemoryRange> ranges = {};
  int64_t bytes = 0;
};

// The experts of one layer: of each of the three matrices the first expert's, which the others follow.
struct MappedExperts {
  static constexpr int64_t kMatrices = 3;  // gate, up, down

  std::array<MemoryRange, kMatrices> first = {};
  int64_t experts = 0;

  MemoryRange matrix(int64_t expert, int64_t number) const {
    const MemoryRange& range = first[static_cast<size_t>(number)];
    return {range.begin + expert * range.bytes, range.bytes};
  }
  int64_t bytes_each() const { return first[0].bytes + first[1].bytes + first[2].bytes; }
};

// Numbers in WeightMap; -1: none.
struct StepWeights {
  int32_t group = -1;
  int32_t stack = -1;
};

struct WeightMap {
  std::vector<DenseGroup> groups = {};  // in order of execution
  std::vector<MappedExperts> stacks = {};
  std::vector<StepWeights> steps = {};  // by fused step
};

// "layers.3" of "layers.3.attend.q_proj"; empty for a node outside of the layers.
std::string_view layer_of(std::string_view node);

// The most experts that a row chooses in a layer; 0: there are none.
int64_t experts_per_row(const Program& program);

WeightMap map_weights(const Program& program, std::span<const FusedStep> steps,
                      const Weights& weights);

}  // namespace dunlin::cpu

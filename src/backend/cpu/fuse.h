// Fusion: the nodes of a Program grouped into the steps that run() executes. A fused step computes
// the same bits as its nodes one by one.
//
//   residual_add      x + linear(..): the addition happens where the linear stores its result
//   shared_input      linears that read one x prepare it once and run in one parallel region
//   gated_linears     act(gate x) * (up x) within the region of the two linears
//   input_norm        linears norm their x themselves, some rows at a time, while they prepare it
//   embed_norm        they gather the rows of the embedding themselves, each before they norm it
//   rope_attention    rotation of q and k, the write to the KV cache and attention in one step
//
// A value that someone else reads, a tap for example, keeps its nodes apart. The rows of an embedding
// are stored all the same, for those that read them later.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "program/program.h"

namespace dunlin::cpu {

inline constexpr int32_t kNoNode = -1;

// A linear and the addition that ends it.
struct LinearPart {
  int32_t linear = kNoNode;
  int32_t residual_add = kNoNode;
};

// A node that a rewrite brought into the step of another.
struct AbsorbedNode {
  const char* rewrite;
  int32_t node;
};

// Numbers of nodes that run together; `node` names the step. A linear stands in `linears`, also
// when it is alone.
struct FusedStep {
  int32_t node = kNoNode;
  std::vector<LinearPart> linears;
  int32_t norm = kNoNode;    // of what the linears read
  int32_t embed = kNoNode;   // whose rows the norm reads
  int32_t gated = kNoNode;   // over linears[0] (gate) and linears[1] (up)
  int32_t rope_q = kNoNode;  // of an attention
  int32_t rope_k = kNoNode;
  std::vector<AbsorbedNode> absorbed;  // in order

  std::vector<int32_t> nodes() const;         // all of them, ascending
  std::vector<const char*> rewrites() const;  // that made it, each once, in order
};

class Fusion;

struct Rewrite {
  const char* name;
  const char* brings;  // one line for people
  void (*apply)(Fusion& fusion, const char* name);
};

// All rewrites, in the order they are applied.
std::span<const Rewrite> rewrites();

// Applies one more rewrite, after the others, for as long as it lives: tests show with a wrong one
// that what it breaks is found. Not for threads that compile at the same time.
class ScopedRewrite {
 public:
  explicit ScopedRewrite(const Rewrite& rewrite);
  ~ScopedRewrite();
  ScopedRewrite(const ScopedRewrite&) = delete;
  ScopedRewrite& operator=(const ScopedRewrite&) = delete;
};

// The steps of a Program in order of execution, without the rewrites named in `disabled`. Views are
// none.
std::vector<FusedStep> fuse(const Program& program, std::span<const std::string> disabled = {});

// The steps and what is known about the values while rewrites run.
class Fusion {
 public:
  explicit Fusion(const Program& program);

  const Program& program() const { return program_; }
  const Node& node(int32_t number) const { return program_.nodes[static_cast<size_t>(number)]; }
  std::vector<FusedStep>& steps() { return steps_; }

  // The only reader of a value is one node, and it is no output.
  bool read_once(ValueId id) const { return reads_[static_cast<size_t>(id)] == 1; }
  // `times` nodes read it, no others, and it is no output. At least so many do.
  bool read_times(ValueId id, size_t times) const {
    return static_cast<size_t>(reads_[static_cast<size_t>(id)]) == times;
  }
  // The step that computes a value as a node of `op` run by a kernel; null where there is none.
  FusedStep* step_of(ValueId id, Op op);
  // The number of the node that computes a value.
  int32_t producer_of(ValueId id) const { return program_.values[static_cast<size_t>(id)].node; }

  // Takes a step away; another one runs its nodes now.
  void remove(FusedStep& absorbed) { absorbed.node = kNoNode; }
  std::vector<FusedStep> finish() &&;

 private:
  const Program& program_;
  std::vector<int32_t> reads_;    // by value: reading operands and outputs
  std::vector<FusedStep> steps_;  // one per node at first; removed ones have no node
};

}  // namespace dunlin::cpu

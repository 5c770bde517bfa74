// One node of a Program about to run: its operands as arrays and its results to fill.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "backend/reference/array.h"
#include "backend/reference/step_context.h"
#include "backend/reference/weights.h"

namespace dunlin::reference {

struct NodeRun {
  const Program& program;
  const Node& node;
  const StepContext& step;
  std::vector<const Array*> operands;          // a weight that only `linear` reads is empty
  std::vector<const PreparedWeight*> weights;  // of operands that are weights; else null
  std::vector<Array> results;                  // of their types and shapes, zero

  template <typename T>
  const T& attributes() const {
    return std::get<T>(node.attributes);
  }
  const Array& operand(size_t i) const { return *operands[i]; }
  const Array* operand_or_null(size_t i) const {
    return i < operands.size() ? operands[i] : nullptr;
  }
  Array& result(size_t i = 0) { return results[i]; }
};

void run_semantic(NodeRun& run);   // semantic_ops.cpp
void run_attention(NodeRun& run);  // attention_ops.cpp
// What run_attention() gathers at a time: keys and values of a sequence and kv head in float32.
uint64_t gathered_bytes(const NodeRun& run);
void run_state(NodeRun& run);  // state_write and state_read, attention_ops.cpp
void run_basic(NodeRun& run);  // basic_dispatch.cpp

}  // namespace dunlin::reference

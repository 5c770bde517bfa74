// Program: a model's forward pass, recorded once as a list of typed operations over symbolic sizes.
// Back ends compile it, the planner reads it; models write it through recorder.h and ops.h.
// Immutable once recorded.
#pragma once

#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

#include "base/result.h"
#include "program/attributes.h"
#include "program/axis.h"
#include "program/dim.h"
#include "program/op.h"
#include "tensor/dtype.h"

namespace dunlin {

using ValueId = int32_t;
using WeightId = int32_t;

struct ValueType {
  DType dtype = DType::f32;
  Dims dims;
  friend bool operator==(const ValueType&, const ValueType&) = default;
};

enum class InputKind : uint8_t {
  tokens,         // i32 [T]
  positions,      // i32 [T]
  row_sequences,  // i32 [T]: index of the row's sequence in the step
  logit_rows,     // i32 [R]
  temperatures,   // f32 [R]
  random,         // f32 [R]: one uniform number per logit row
};
inline constexpr size_t kInputKinds = 6;

const char* input_name(InputKind kind);
ValueType input_type(InputKind kind);

// A value is an input, a weight, or result number `result` of node `node`.
struct Value {
  enum class Kind : uint8_t { input, weight, node } kind = Kind::node;
  InputKind input = InputKind::tokens;
  WeightId weight = -1;
  int32_t node = -1;
  int32_t result = 0;
  ValueType type;
};

struct Node {
  Op op;
  Attributes attributes;
  std::vector<ValueId>
      operands;  // the function's arguments in ops.h, in order, without absent ones
  std::vector<ValueId> results;
  std::string name;  // unique: scope and label, "layers.3.attend.q_proj"
  std::source_location where;
};

// A weight the model declares: what it is called and how its dimensions may be split, never its
// format.
struct WeightDeclaration {
  std::string name;            // Hugging Face name, "model.layers.3.self_attn.q_proj.weight"
  std::vector<AxisList> dims;  // one entry (vector), two ([out, in]) or three ([experts, out, in])
  std::source_location where;

  Dims shape() const;
};

// Layers whose keys and values live under one retention rule; a group has its own page table.
struct KvGroup {
  int64_t window = 0;  // 0: every position is kept
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int32_t layers = 0;
};

// Names of the outputs that make a step's logits; every other output is a tap.
inline constexpr const char* kLogitsOutput = "logits";                       // f32 [R,V]
inline constexpr const char* kStatisticsOutput = "logits_view.statistics";   // f32 [R,5]
inline constexpr const char* kCandidateIdsOutput = "logits_view.ids";        // i32 [R,k]
inline constexpr const char* kCandidateLogitsOutput = "logits_view.logits";  // f32 [R,k]

struct Output {
  std::string name;  // "logits", or a tap's name
  ValueId value;

  bool is_of_logits() const;  // one of those above, no tap
};

struct ContentHash {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

struct Program {
  std::string model;  // "llama"
  std::vector<Value> values;
  std::vector<Node> nodes;  // in order of execution
  std::vector<WeightDeclaration> weights;
  std::vector<KvGroup> kv_groups;
  std::vector<Output> outputs;

  const ValueType& type(ValueId id) const { return values[static_cast<size_t>(id)].type; }
  const Output* find_output(const std::string& name) const;
  // Whether some node is of this operation.
  bool has(Op op) const;
};

// Structural soundness: operands defined before use, types as the operations' rules give them,
// unique names, outputs and weights in use. The error names the node and the model's line.
Result<void> verify(const Program& program);

// One line per node: %12 = linear(%9, model.layers.0.self_attn.q_proj.weight) : f32 [T,576]
// layers.0.attend.q_proj
std::string print(const Program& program);

// Hash of everything that changes results (not names of nodes or source lines); keys caches.
ContentHash content_hash(const Program& program);
std::string to_string(const ContentHash& hash);  // 32 hexadecimal digits

}  // namespace dunlin

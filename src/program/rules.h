// The rules of every operation: the operands it takes and the types of its results. The recording
// functions (ops.h) and verify() use the same ones.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "program/program.h"

namespace dunlin {

struct RuleOperand {
  ValueType type;
  bool is_weight = false;
};

struct RuleInput {
  Op op;
  const Attributes& attributes;
  std::vector<RuleOperand> operands;
  // The result asked for: dims of reshape and broadcast, dims and dtype of constant and iota;
  // others ignore it.
  ValueType asked;
  const std::vector<KvGroup>& kv_groups;
};

// What is wrong with a node, without its name and place.
class RuleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using ValueTypes = std::vector<ValueType>;

// The types of the node's results; throws RuleError.
ValueTypes result_types(const RuleInput& input);

}  // namespace dunlin

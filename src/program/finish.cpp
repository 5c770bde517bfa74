// The end of a recording: what no output and no state depends on is removed, and values are
// numbered anew: inputs, weights by their first use, results. The numbers, and with them the
// content hash, do not depend on the order in which a compiler evaluated arguments that name inputs
// and weights.
#include <fmt/format.h>

#include "program/recorder.h"

namespace dunlin {

namespace {

bool writes_state(const Node& node) {
  if (node.op == Op::state_write) return true;
  const auto* attention = std::get_if<AttentionAttributes>(&node.attributes);
  return attention != nullptr && attention->stateful;
}

// One backward sweep: a node lives when it writes state or a result of it is needed.
std::vector<bool> live_values(const Program& program, std::vector<bool>& live_nodes) {
  std::vector<bool> needed(program.values.size(), false);
  for (const Output& output : program.outputs) needed[static_cast<size_t>(output.value)] = true;
  for (size_t i = program.nodes.size(); i-- > 0;) {
    const Node& node = program.nodes[i];
    bool live = writes_state(node);
    for (const ValueId result : node.results) live = live || needed[static_cast<size_t>(result)];
    if (!live) continue;
    live_nodes[i] = true;
    for (const ValueId operand : node.operands) needed[static_cast<size_t>(operand)] = true;
    for (const ValueId result : node.results) needed[static_cast<size_t>(result)] = true;
  }
  return needed;
}

// Copies what lives and translates every id. Nodes keep their order.
class Compaction {
 public:
  explicit Compaction(Program from)
      : from_(std::move(from)),
        live_nodes_(from_.nodes.size(), false),
        live_values_(live_values(from_, live_nodes_)),
        nodes_(from_.nodes.size(), -1),
        values_(from_.values.size(), -1) {}

  Program run() && {
    to_.model = std::move(from_.model);
    to_.kv_groups = std::move(from_.kv_groups);
    number_nodes();
    move_inputs();
    move_weights();
    move_results();
    move_nodes();
    for (Output& output : from_.outputs) {
      to_.outputs.push_back({std::move(output.name), translated(output.value)});
    }
    return std::move(to_);
  }

 private:
  ValueId translated(ValueId id) const { return values_[static_cast<size_t>(id)]; }

  void number_nodes() {
    int32_t count = 0;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (live_nodes_[i]) nodes_[i] = count++;
    }
  }

  Value& move_value(size_t i) {
    values_[i] = static_cast<ValueId>(to_.values.size());
    return to_.values.emplace_back(std::move(from_.values[i]));
  }

  void move_inputs() {
    for (size_t kind = 0; kind < kInputKinds; ++kind) {
      for (size_t i = 0; i < values_.size(); ++i) {
        const Value& value = from_.values[i];
        if (value.kind != Value::Kind::input || !live_values_[i]) continue;
        if (value.input == static_cast<InputKind>(kind)) move_value(i);
      }
    }
  }

  void move_weights() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!live_nodes_[i]) continue;
      for (const ValueId operand : from_.nodes[i].operands) move_weight(operand);
    }
    for (const Output& output : from_.outputs) move_weight(output.value);
  }

  void move_weight(ValueId id) {
    const auto i = static_cast<size_t>(id);
    if (values_[i] >= 0 || from_.values[i].kind != Value::Kind::weight) return;
    Value& value = move_value(i);
    to_.weights.push_back(std::move(from_.weights[static_cast<size_t>(value.weight)]));
    value.weight = static_cast<WeightId>(to_.weights.size()) - 1;
  }

  void move_results() {
    for (size_t i = 0; i < values_.size(); ++i) {
      if (from_.values[i].kind != Value::Kind::node || !live_values_[i]) continue;
      Value& value = move_value(i);
      value.node = nodes_[static_cast<size_t>(value.node)];
    }
  }

  void move_nodes() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!live_nodes_[i]) continue;
      Node node = std::move(from_.nodes[i]);
      for (ValueId& operand : node.operands) operand = translated(operand);
      for (ValueId& result : node.results) result = translated(result);
      to_.nodes.push_back(std::move(node));
    }
  }

  Program from_;
  Program to_;
  std::vector<bool> live_nodes_;
  std::vector<bool> live_values_;
  std::vector<int32_t> nodes_;   // new numbers; -1: removed
  std::vector<ValueId> values_;  // new ids; -1: removed
};

}  // namespace

void Recorder::check_weights_are_read() const {
  std::vector<bool> read(program_.values.size(), false);
  for (const Output& output : program_.outputs) read[static_cast<size_t>(output.value)] = true;
  for (const Node& node : program_.nodes) {
    for (const ValueId operand : node.operands) read[static_cast<size_t>(operand)] = true;
  }
  for (size_t i = 0; i < program_.values.size(); ++i) {
    const Value& value = program_.values[i];
    if (value.kind != Value::Kind::weight || read[i]) continue;
    const WeightDeclaration& weight = program_.weights[static_cast<size_t>(value.weight)];
    throw ProgramError(fmt::format("weight {}: declared, but nothing reads it", weight.name),
                       weight.where);
  }
}

Program Recorder::finish() && {
  check_weights_are_read();
  return Compaction(std::move(program_)).run();
}

}  // namespace dunlin

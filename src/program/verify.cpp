// Structural soundness of a Program, decided from its data alone: nothing the recorder promised is
// taken for granted.
#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

#include "base/checked.h"
#include "program/location.h"
#include "program/program.h"
#include "program/rules.h"

namespace dunlin {

namespace {

class Verifier {
 public:
  explicit Verifier(const Program& program) : program_(program) {}

  Result<void> run() {
    DUNLIN_RETURN_IF_ERROR(check_weights());
    DUNLIN_RETURN_IF_ERROR(check_values());
    for (size_t i = 0; i < program_.nodes.size(); ++i) DUNLIN_RETURN_IF_ERROR(check_node(i));
    DUNLIN_RETURN_IF_ERROR(check_outputs());
    DUNLIN_RETURN_IF_ERROR(check_uses());
    return check_kv_groups();
  }

 private:
  static Error error_at(const std::source_location& where, const std::string& subject,
                        const std::string& problem) {
    return model_error(fmt::format("{}: {}: {}", location_text(where), subject, problem));
  }
  static Error node_error(const Node& node, const std::string& problem) {
    return error_at(node.where, fmt::format("{} {}", op_name(node.op), node.name), problem);
  }
  Error program_error(const std::string& problem) const {
    return model_error(fmt::format("program {}: {}", program_.model, problem));
  }

  bool is_value(ValueId id) const { return id >= 0 && std::cmp_less(id, program_.values.size()); }
  const Value& value(ValueId id) const { return program_.values[static_cast<size_t>(id)]; }

  Result<void> check_weights() {
    std::set<std::string> names;
    for (const WeightDeclaration& weight : program_.weights) {
      const std::string subject = "weight " + weight.name;
      if (weight.name.empty() || !names.insert(weight.name).second) {
        return error_at(weight.where, subject, "the name is empty or not unique");
      }
      bool sound = !weight.dims.empty() && weight.dims.size() <= 3;
      std::optional<int64_t> elements = 1;
      for (const AxisList& axes : weight.dims) {
        sound = sound && !axes.empty();
        for (const AxisSize& axis : axes) {
          sound = sound && axis.size >= 1;
          if (elements) elements = checked_mul(*elements, axis.size);
        }
      }
      if (!sound || !elements) {
        return error_at(weight.where, subject, "needs one to three dimensions of positive sizes");
      }
    }
    return {};
  }

  // Inputs and weights have their one value and their type; results belong to their node.
  Result<void> check_values() {
    std::set<InputKind> inputs;
    std::set<WeightId> weights;
    for (size_t i = 0; i < program_.values.size(); ++i) {
      const Value& value = program_.values[i];
      if (const std::string problem = problem_of(value, static_cast<ValueId>(i));
          !problem.empty()) {
        return program_error(fmt::format("value {}: {}", i, problem));
      }
      const bool again =
          (value.kind == Value::Kind::input && !inputs.insert(value.input).second) ||
          (value.kind == Value::Kind::weight && !weights.insert(value.weight).second);
      if (again) return program_error(fmt::format("value {}: an input or weight again", i));
    }
    if (weights.size() != program_.weights.size()) return program_error("a weight has no value");
    return {};
  }

  std::string problem_of(const Value& value, ValueId id) const {
    switch (value.kind) {
      case Value::Kind::input:
        return value.type == input_type(value.input) ? "" : "not the type of its input";
      case Value::Kind::weight:
        if (value.weight < 0 || std::cmp_greater_equal(value.weight, program_.weights.size())) {
          return "no such weight";
        }
        return value.type == ValueType{DType::f32, weight_of(value).shape()}
                   ? ""
                   : "not the type of its weight";
      case Value::Kind::node:
        break;
    }
    if (value.node < 0 || std::cmp_greater_equal(value.node, program_.nodes.size())) {
      return "no such node";
    }
    const std::vector<ValueId>& results = program_.nodes[static_cast<size_t>(value.node)].results;
    const bool listed = value.result >= 0 && std::cmp_less(value.result, results.size()) &&
                        results[static_cast<size_t>(value.result)] == id;
    return listed ? "" : "not a result of its node";
  }

  const WeightDeclaration& weight_of(const Value& value) const {
    return program_.weights[static_cast<size_t>(value.weight)];
  }

  Result<void> check_node(size_t index) {
    const Node& node = program_.nodes[index];
    if (node.name.empty() || !node_names_.insert(node.name).second) {
      return node_error(node, "the name is empty or not unique");
    }
    RuleInput input{node.op, node.attributes, {}, {}, program_.kv_groups};
    for (const ValueId id : node.operands) {
      if (!is_value(id)) return node_error(node, fmt::format("no operand {}", id));
      const Value& operand = value(id);
      if (operand.kind == Value::Kind::node && std::cmp_greater_equal(operand.node, index)) {
        return node_error(node, fmt::format("operand {} is computed later", id));
      }
      input.operands.push_back({operand.type, operand.kind == Value::Kind::weight});
      used_.insert(id);
    }
    return check_results(node, index, std::move(input));
  }

  Result<void> check_results(const Node& node, size_t index, RuleInput input) const {
    ValueTypes found;
    for (size_t i = 0; i < node.results.size(); ++i) {
      const ValueId id = node.results[i];
      const bool own = is_value(id) && value(id).kind == Value::Kind::node &&
                       std::cmp_equal(value(id).node, index) && std::cmp_equal(value(id).result, i);
      if (!own) return node_error(node, fmt::format("result {} is not its own", i));
      found.push_back(value(id).type);
    }
    if (!found.empty()) input.asked = found[0];
    try {
      if (result_types(input) != found) {
        return node_error(node, "results are not of the types that its operands give");
      }
    } catch (const RuleError& error) {
      return node_error(node, error.what());
    }
    return {};
  }

  Result<void> check_outputs() {
    if (program_.outputs.empty()) return program_error("no outputs");
    std::set<std::string> names;
    for (const Output& output : program_.outputs) {
      if (output.name.empty() || !names.insert(output.name).second) {
        return program_error(fmt::format("output \"{}\": empty or not unique", output.name));
      }
      if (!is_value(output.value)) {
        return program_error(fmt::format("output {}: no value {}", output.name, output.value));
      }
      used_.insert(output.value);
    }
    return {};
  }

  Result<void> check_uses() const {
    for (size_t i = 0; i < program_.values.size(); ++i) {
      const Value& value = program_.values[i];
      if (value.kind != Value::Kind::weight || used_.contains(static_cast<ValueId>(i))) continue;
      return error_at(weight_of(value).where, "weight " + weight_of(value).name, "never used");
    }
    return {};
  }

  // Each layer of each group is written once, and no two groups hold the same kind of layer.
  Result<void> check_kv_groups() const {
    const std::vector<KvGroup>& groups = program_.kv_groups;
    for (size_t i = 0; i < groups.size(); ++i) {
      const KvGroup& group = groups[i];
      if (group.window < 0 || group.kv_heads < 1 || group.head_dim < 1 || group.layers < 1) {
        return program_error(fmt::format("KV group {}: a size is out of range", i));
      }
      for (size_t j = 0; j < i; ++j) {
        if (group.window == groups[j].window && group.kv_heads == groups[j].kv_heads &&
            group.head_dim == groups[j].head_dim) {
          return program_error(fmt::format("KV groups {} and {} are alike", j, i));
        }
      }
    }
    return check_kv_layers();
  }

  Result<void> check_kv_layers() const {
    std::set<std::pair<int32_t, int32_t>> written;
    for (const Node& node : program_.nodes) {
      if (node.op == Op::state_read) {
        const auto& state = std::get<StateAttributes>(node.attributes);
        if (written.contains({state.group, state.layer})) continue;
        return node_error(node, "reads a layer of the KV state before it is written");
      }
      const auto place = written_place(node);
      if (!place || written.insert(*place).second) continue;
      return node_error(node, fmt::format("layer {} of KV group {} is written twice", place->second,
                                          place->first));
    }
    size_t layers = 0;
    for (const KvGroup& group : program_.kv_groups) layers += static_cast<size_t>(group.layers);
    if (written.size() != layers) return program_error("a layer of the KV state is never written");
    return {};
  }

  static std::optional<std::pair<int32_t, int32_t>> written_place(const Node& node) {
    if (node.op == Op::state_write) {
      const auto& state = std::get<StateAttributes>(node.attributes);
      return std::pair(state.group, state.layer);
    }
    if (node.op != Op::attention) return std::nullopt;
    const auto& attention = std::get<AttentionAttributes>(node.attributes);
    if (!attention.stateful) return std::nullopt;
    return std::pair(attention.group, attention.layer);
  }

  const Program& program_;
  std::set<std::string> node_names_;
  std::set<ValueId> used_;
};

}  // namespace

Result<void> verify(const Program& program) {
  return Verifier(program).run();
}

}  // namespace dunlin

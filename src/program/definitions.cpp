// Replaces semantic nodes by their definitions, recorded anew under the node's name and line.
#include "program/definitions.h"

#include "program/definitions_detail.h"

namespace dunlin {

namespace {

definitions::Tensors define(const definitions::Definition& it) {
  switch (it.node.op) {
#define DUNLIN_DEFINITION(name) \
  case Op::name:                \
    return definitions::name(it)
    DUNLIN_DEFINITION(embed);
    DUNLIN_DEFINITION(linear);
    DUNLIN_DEFINITION(rms_norm);
    DUNLIN_DEFINITION(rope_angles);
    DUNLIN_DEFINITION(rope);
    DUNLIN_DEFINITION(attention);
    DUNLIN_DEFINITION(gated);
    DUNLIN_DEFINITION(route);
    DUNLIN_DEFINITION(experts);
    DUNLIN_DEFINITION(softcap);
    DUNLIN_DEFINITION(act);
    DUNLIN_DEFINITION(gather_rows);
    DUNLIN_DEFINITION(pool);
    DUNLIN_DEFINITION(logits_view);
    DUNLIN_DEFINITION(sample);
    DUNLIN_DEFINITION(tap);
#undef DUNLIN_DEFINITION
    default:
      break;
  }
  DUNLIN_CHECK(false, "a basic operation has no definition");
}

class Expander {
 public:
  explicit Expander(const Program& program)
      : program_(program), recorder_(program.model, {}), values_(program.values.size()) {}

  Program run(const std::function<bool(const Node&)>& keep) && {
    for (const KvGroup& group : program_.kv_groups) {
      for (int32_t layer = 0; layer < group.layers; ++layer) {
        recorder_.kv_layer(group.window, group.kv_heads, group.head_dim);
      }
    }
    for (size_t i = 0; i < values_.size(); ++i) {
      const Value& value = program_.values[i];
      if (value.kind == Value::Kind::input) values_[i] = recorder_.input(value.input);
      if (value.kind == Value::Kind::weight) {
        values_[i] = recorder_.declare_weight(program_.weights[static_cast<size_t>(value.weight)]);
      }
    }
    for (const Node& node : program_.nodes) {
      set_results(node, is_basic(node.op) || keep(node) ? copy(node) : expanded(node));
    }
    for (const Output& output : program_.outputs) {
      recorder_.output(output.name, values_[static_cast<size_t>(output.value)]);
    }
    return std::move(recorder_).finish();
  }

 private:
  std::vector<Tensor> operands(const Node& node) const {
    std::vector<Tensor> operands;
    for (const ValueId id : node.operands) operands.push_back(values_[static_cast<size_t>(id)]);
    return operands;
  }

  std::vector<Tensor> copy(const Node& node) {
    std::vector<ValueType> types;
    for (const ValueId id : node.results) types.push_back(program_.type(id));
    return recorder_.append(node.op, node.attributes, operands(node), std::move(types), node.name,
                            node.where);
  }

  std::vector<Tensor> expanded(const Node& node) {
    const Scope scope(recorder_, node.name, node.where);
    return define({recorder_, node, operands(node)});
  }

  void set_results(const Node& node, const std::vector<Tensor>& results) {
    DUNLIN_CHECK(results.size() == node.results.size(), node.name);
    for (size_t i = 0; i < results.size(); ++i) {
      const ValueId id = node.results[i];
      DUNLIN_CHECK(results[i].type() == program_.type(id), node.name);
      values_[static_cast<size_t>(id)] = results[i];
    }
  }

  const Program& program_;
  Recorder recorder_;
  std::vector<Tensor> values_;  // of program_, in the new recording
};

}  // namespace

Result<Program> expand(const Program& program, const std::function<bool(const Node&)>& keep) {
  DUNLIN_RETURN_IF_ERROR(verify(program));
  try {
    Program result = Expander(program).run(keep);
    DUNLIN_RETURN_IF_ERROR(verify(result));
    return result;
  } catch (const ProgramError& error) {
    return model_error(error.what());
  }
}

}  // namespace dunlin

// Rule, name and node of one recorded operation.
#include "program/ops_node.h"

#include <fmt/format.h>

#include "program/rules.h"

namespace dunlin {

std::string weight_label(const Tensor& weight, const char* otherwise) {
  if (!weight.defined()) return otherwise;
  const Recorder& recorder = weight.recorder();
  const Value& value = recorder.value(weight.id());
  if (value.kind != Value::Kind::weight) return otherwise;
  std::string name = recorder.program().weights[static_cast<size_t>(value.weight)].name;
  constexpr std::string_view kSuffix = ".weight";
  if (name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0: the whole name
}

Recorder& recorder_of(Op op, const std::vector<Tensor>& operands,
                      const std::source_location& where) {
  for (size_t i = 0; i < operands.size(); ++i) {
    const bool same = operands[i].defined() && &operands[i].recorder() == &operands[0].recorder();
    if (same) continue;
    throw ProgramError(fmt::format("{}: operand {} is {}", op_name(op), i,
                                   operands[i].defined() ? "of another recording" : "undefined"),
                       where);
  }
  if (operands.empty()) throw ProgramError(fmt::format("{}: no operand", op_name(op)), where);
  return operands[0].recorder();
}

std::vector<Tensor> record_node(Recorder& recorder, Op op, Attributes attributes,
                                const std::vector<Tensor>& operands,
                                const std::source_location& where, const ValueType& asked,
                                const std::string& label) {
  const std::string name = label.empty() ? op_name(op) : label;
  RuleInput input{op, attributes, {}, asked, recorder.program().kv_groups};
  for (const Tensor& operand : operands) {
    const Value& value = recorder.value(operand.id());
    input.operands.push_back({value.type, value.kind == Value::Kind::weight});
  }
  try {
    ValueTypes types = result_types(input);
    return recorder.append(op, std::move(attributes), operands, std::move(types), name, where);
  } catch (const RuleError& error) {
    throw ProgramError(fmt::format("{} {}: {}", op_name(op), recorder.scoped(name), error.what()),
                       recorder.place(where));
  }
}

Tensor record_one(Op op, Attributes attributes, const std::vector<Tensor>& operands,
                  const std::source_location& where, const ValueType& asked,
                  const std::string& label) {
  Recorder& recorder = recorder_of(op, operands, where);
  return record_node(recorder, op, std::move(attributes), operands, where, asked, label)[0];
}

}  // namespace dunlin

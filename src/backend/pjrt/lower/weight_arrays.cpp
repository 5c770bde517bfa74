// Which weights a Program reads, in which forms, and what arrays those are.
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/pjrt/lower/context.h"
#include "backend/pjrt/lower/lower.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

using Kind = DeviceForm::Kind;

bool is_matrix(const Node& node, size_t operand) {
  return (node.op == Op::linear && operand == 1) ||
         (node.op == Op::experts && operand >= 3 && operand <= 5);
}

// How operand number `operand` of a node reads the weight it is.
DeviceForm form_read(const Node& node, size_t operand, Format format,
                     const LoweringOptions& options) {
  if (node.op == Op::embed) return table_form(format);
  if (is_matrix(node, operand)) return matrix_form(format, options.precision, options.platform);
  return {};
}

// Calls fn(node, operand, weight) for each operand that is a weight.
template <typename Function>
void for_each_weight(const Program& program, Function fn) {
  for (const Node& node : program.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const Value& value = program.values[static_cast<size_t>(node.operands[i])];
      if (value.kind == Value::Kind::weight) fn(node, i, value.weight);
    }
  }
}

void append_name(std::string& list, const std::string& item) {
  list += (list.empty() ? "" : ", ") + item;
}

// Of codes, scales and minimums.
std::vector<TensorType> with_scales(const DeviceForm& form, const Shape& codes,
                                    const Shape& scales) {
  std::vector<TensorType> types;
  types.push_back({element_of(form.code), codes});
  types.push_back({form.exponents ? Element::u8 : Element::f32, scales});
  if (form.minimums) types.push_back({Element::f32, scales});
  return types;
}

}  // namespace

Element element_of(CodeType code) {
  switch (code) {
    case CodeType::f32:
      return Element::f32;
    case CodeType::f16:
      return Element::f16;
    case CodeType::bf16:
      return Element::bf16;
    case CodeType::i8:
      return Element::i8;
    case CodeType::i4:
      return Element::i4;
    case CodeType::u4:
      return Element::u4;
    case CodeType::f4:
      break;
  }
  return Element::f4;
}

std::vector<WeightUse> weight_uses(const Program& program, const LoweringOptions& options) {
  std::set<WeightUse> uses;
  for_each_weight(program, [&](const Node& node, size_t operand, WeightId weight) {
    const Format format = options.formats[static_cast<size_t>(weight)];
    uses.insert(WeightUse{weight, form_read(node, operand, format, options)});
  });
  for (const Output& output : program.outputs) {
    const Value& value = program.values[static_cast<size_t>(output.value)];
    if (value.kind == Value::Kind::weight) uses.insert(WeightUse{value.weight, {}});
  }
  return {uses.begin(), uses.end()};
}

std::map<Op, std::string> forms_of_operations(const Program& program,
                                              const LoweringOptions& options) {
  std::map<Op, std::set<DeviceForm>> forms;
  for_each_weight(program, [&](const Node& node, size_t operand, WeightId weight) {
    if (node.op != Op::embed && !is_matrix(node, operand)) return;
    const Format format = options.formats[static_cast<size_t>(weight)];
    forms[node.op].insert(form_read(node, operand, format, options));
  });
  std::map<Op, std::string> texts;
  for (const auto& [op, of_op] : forms) {
    for (const DeviceForm& form : of_op) append_name(texts[op], to_string(form));
  }
  return texts;
}

std::string widening_note(const Program& program, const LoweringOptions& options) {
  std::set<Format> widened;
  for_each_weight(program, [&](const Node& node, size_t operand, WeightId weight) {
    const Format format = options.formats[static_cast<size_t>(weight)];
    if (is_matrix(node, operand) && is_widened(format, options.platform)) widened.insert(format);
  });
  if (widened.empty()) return {};
  std::string names;
  for (const Format format : widened) append_name(names, traits(format).name);
  const CodeType held = matrix_form(*widened.begin(), options.precision, options.platform).code;
  return names + " weights are held as " + code_name(held) + " by " +
         platform_name(options.platform) +
         ": no packed form of them passes there (docs/decisions/0011-packed-weights.md)";
}

std::vector<TensorType> weight_types(const Program& program, const WeightUse& use,
                                     const ProgramSharding* sharding) {
  const auto weight = static_cast<size_t>(use.weight);
  Shape dims;
  for (const Dim& dim : program.weights[weight].shape()) dims.push_back(dim.size);
  if (sharding != nullptr) dims = sharding->local(sharding->weights[weight], dims);
  const DeviceForm& form = use.form;
  std::vector<TensorType> values;
  values.push_back({element_of(form.code), dims});
  if (form.kind == Kind::values) return values;
  DUNLIN_CHECK(dims.size() >= 2, program.weights[weight].name + " is no matrix");
  const int64_t columns = dims.back();
  dims.pop_back();
  const int64_t rows = dims.back();
  Shape codes = dims;
  Shape scales = dims;
  if (form.kind == Kind::rows) {
    codes.push_back(columns);
    if (form.group > 0) scales.push_back(columns / form.group);
    return with_scales(form, codes, scales);
  }
  codes.pop_back();
  if (form.kind == Kind::channels) {
    codes.insert(codes.end(),
                 {form.inputs_last ? rows : columns, form.inputs_last ? columns : rows});
    return with_scales(form, codes, scales);
  }
  DUNLIN_CHECK(columns % form.group == 0, program.weights[weight].name + " in whole groups");
  scales.back() = columns / form.group;
  scales.push_back(rows);
  codes.insert(codes.end(), {columns / form.group, form.group, rows});
  return with_scales(form, codes, scales);
}

int64_t weight_bytes(const Program& program, const WeightUse& use,
                     const ProgramSharding* sharding) {
  int64_t bytes = 0;
  for (const TensorType& type : weight_types(program, use, sharding)) bytes += type.device_bytes();
  return bytes;
}

std::vector<Splits> weight_splits(const Splits& splits, const DeviceForm& form) {
  std::vector<Splits> all(1, splits);
  if (form.kind == Kind::values) return all;
  Splits& codes = all.front();
  const std::vector<std::string> columns = codes.back();
  codes.pop_back();
  const std::vector<std::string> rows = codes.back();
  codes.pop_back();
  const std::vector<std::string> none;
  Splits scales = codes;
  switch (form.kind) {
    case Kind::channels:
      codes.push_back(form.inputs_last ? rows : columns);
      codes.push_back(form.inputs_last ? columns : rows);
      scales.push_back(rows);
      break;
    case Kind::groups:
      codes.push_back(columns);
      codes.push_back(none);
      codes.push_back(rows);
      scales.push_back(columns);
      scales.push_back(rows);
      break;
    case Kind::values:
    case Kind::rows:
      codes.push_back(rows);
      codes.push_back(columns);
      scales.push_back(rows);
      if (form.group > 0) scales.push_back(columns);
      break;
  }
  all.insert(all.end(), form.minimums ? 2 : 1, scales);
  return all;
}

}  // namespace dunlin::pjrt

// Names of number formats, and which weights they apply to.
#include "planner/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace dunlin {

namespace {

const Storage kByteForms[] = {
    {"int8", 1, 1, 2},
    {"fp8", 1, 1, 2},
};

const Storage kKvForms[] = {
    {"f32", 1, 4, 0},    {"bf16", 1, 2, 0}, {"q8_0", 32, 34, 0},
    {"q4_0", 32, 18, 0}, {"int8", 1, 1, 2},
};

template <typename Forms>
const Storage* find_form(const Forms& forms, std::string_view name) {
  const auto it = std::ranges::find(forms, name, &Storage::name);
  return it == std::end(forms) ? nullptr : &*it;
}

template <typename Forms>
void append_names(const Forms& forms, std::string& names) {
  for (const Storage& form : forms) names += (names.empty() ? "" : ", ") + form.name;
}

// A block of these elements on a device. A scale of a whole row is beside the blocks, others are in
// them.
Storage held_storage(const Storage& stored, const DeviceForm& form) {
  Storage held = stored;
  held.name += std::string(" as ") + code_name(form.code);
  const bool in_blocks = form.kind != DeviceForm::Kind::values && form.group > 0;
  held.block_bytes = (in_blocks ? row_bits(form, stored.block_elements)
                                : stored.block_elements * code_bits(form.code)) /
                     8;
  const bool of_rows = form.kind != DeviceForm::Kind::values && form.group == 0;
  held.scale_bytes = of_rows ? 4 : 0;
  return held;
}

}  // namespace

Storage storage_of(Format format) {
  const FormatTraits& row = traits(format);
  return {row.name, row.block_elements, row.block_bytes, row.largest > 0.0f ? 4 : 0, 0};
}

Storage storage_of(const WeightView& view) {
  Storage storage = storage_of(view.format);
  if (storage.scale_bytes > 0 && view.row_form().scales() > 1)
    storage.scale_columns = view.scale_columns;
  return storage;
}

Result<Storage> parse_storage(std::string_view name) {
  if (const auto format = parse_format(name)) return storage_of(*format);
  if (const Storage* form = find_form(kByteForms, name)) return *form;
  std::string names;
  append_names(kByteForms, names);
  for (const FormatTraits& format : all_formats()) names += fmt::format(", {}", format.name);
  return usage_error(fmt::format("\"{}\" is no number format of weights (known: {})", name, names));
}

Result<Storage> parse_kv_storage(std::string_view name) {
  if (const Storage* form = find_form(kKvForms, name)) return *form;
  std::string names;
  append_names(kKvForms, names);
  return usage_error(
      fmt::format("\"{}\" is no number format of keys and values (known: {})", name, names));
}

Result<WeightStorage> weight_storage(const Program& program, const WeightSource& source) {
  WeightStorage storage;
  for (const WeightDeclaration& weight : program.weights) {
    DUNLIN_ASSIGN_OR_RETURN(const WeightView view, source(weight.name));
    storage.push_back(weight.dims.size() == 1 ? Storage{} : storage_of(view));
  }
  return storage;
}

int64_t ffn_unit_of(const Program& program, const WeightStorage& storage) {
  int64_t unit = 1;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const AxisList& columns = program.weights[i].dims.back();
    const bool along_ffn =
        std::ranges::any_of(columns, [](const AxisSize& axis) { return axis.axis == Axis::ffn; });
    if (!along_ffn) continue;
    const int64_t scale_columns = std::max<int64_t>(1, storage[i].scale_columns);
    const int64_t all = std::lcm(unit, std::lcm(storage[i].block_elements, scale_columns));
    if (all <= extent(columns)) unit = all;
  }
  return unit;
}

void hold_on(const Program& program, Platform platform, WeightStorage& storage) {
  if (platform == Platform::other) return;
  const std::vector<bool> multiplied = multiplied_weights(program);
  for (size_t i = 0; i < storage.size(); ++i) {
    const auto format = parse_format(storage[i].name);
    if (program.weights[i].dims.size() < 2 || !format || traits(*format).is_plain()) continue;
    const DeviceForm form =
        multiplied[i] ? matrix_form(*format, Precision::automatic, platform) : table_form(*format);
    storage[i] = held_storage(storage[i], form);
  }
}

std::vector<bool> multiplied_weights(const Program& program) {
  std::vector<bool> multiplied(program.weights.size(), false);
  const auto note = [&](const Node& node, size_t operand) {
    const Value& value = program.values[static_cast<size_t>(node.operands[operand])];
    if (value.kind == Value::Kind::weight) multiplied[static_cast<size_t>(value.weight)] = true;
  };
  for (const Node& node : program.nodes) {
    if (node.op == Op::linear) note(node, 1);
    if (node.op == Op::experts) {
      for (const size_t stack : {3, 4, 5}) note(node, stack);
    }
  }
  return multiplied;
}

bool holds_vocabulary(const WeightDeclaration& weight) {
  for (const AxisList& dim : weight.dims) {
    for (const AxisSize& axis : dim) {
      if (axis.axis == Axis::vocab) return true;
    }
  }
  return false;
}

Result<void> requantize(const Program& program, const Requantization& to, WeightStorage& storage) {
  Storage matrices;
  Storage vocabulary;
  if (!to.matrices.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(matrices, parse_storage(to.matrices));
  }
  if (!to.vocabulary.empty()) {
    DUNLIN_ASSIGN_OR_RETURN(vocabulary, parse_storage(to.vocabulary));
  }
  const std::vector<bool> multiplied = multiplied_weights(program);
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDeclaration& weight = program.weights[i];
    if (weight.dims.size() < 2) continue;
    if (!to.vocabulary.empty() && holds_vocabulary(weight)) {
      storage[i] = vocabulary;
    } else if (!to.matrices.empty() && multiplied[i]) {
      storage[i] = matrices;
    }
  }
  return {};
}

}  // namespace dunlin

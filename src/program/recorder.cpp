// Recording: values, weights, names and taps.
#include "program/recorder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "program/glob.h"
#include "program/location.h"

namespace dunlin {

ProgramError::ProgramError(const std::string& message, const std::source_location& where)
    : std::runtime_error(location_text(where) + ": " + message) {}

ValueType Tensor::type() const {
  DUNLIN_CHECK(defined(), "type of an undefined Tensor");
  return recorder_->value(id_).type;
}

std::string WeightScope::full_name(const std::string& name) const {
  return prefix_.empty() ? name : prefix_ + '.' + name;
}

WeightScope WeightScope::scope(const std::string& name) const {
  return {recorder_, full_name(name)};
}

WeightScope WeightScope::scope(int64_t index) const {
  return scope(std::to_string(index));
}

Tensor WeightScope::vector(const std::string& name, const AxisList& axes,
                           std::source_location where) const {
  return recorder_->declare_weight({full_name(name), {axes}, where});
}

Tensor WeightScope::matrix(const std::string& name, const AxisList& out, const AxisList& in,
                           std::source_location where) const {
  return recorder_->declare_weight({full_name(name), {out, in}, where});
}

Tensor WeightScope::stack(const std::string& name, const AxisList& experts, const AxisList& out,
                          const AxisList& in, std::source_location where) const {
  return recorder_->declare_weight({full_name(name), {experts, out, in}, where});
}

Recorder::Recorder(std::string model, RecordOptions options)
    : options_(std::move(options)), pattern_matched_(options_.taps.size(), false) {
  program_.model = std::move(model);
  inputs_.fill(-1);
}

Tensor Recorder::tokens() {
  return input(InputKind::tokens);
}
Tensor Recorder::positions() {
  return input(InputKind::positions);
}
Tensor Recorder::row_sequences() {
  return input(InputKind::row_sequences);
}
Tensor Recorder::logit_rows() {
  return input(InputKind::logit_rows);
}
Tensor Recorder::temperatures() {
  return input(InputKind::temperatures);
}
Tensor Recorder::random() {
  return input(InputKind::random);
}

Tensor Recorder::add_value(Value value) {
  const auto id = static_cast<ValueId>(program_.values.size());
  program_.values.push_back(std::move(value));
  return {this, id};
}

Tensor Recorder::input(InputKind kind) {
  ValueId& id = inputs_[static_cast<size_t>(kind)];
  if (id < 0) {
    Value value{Value::Kind::input, kind, -1, -1, 0, input_type(kind)};
    id = add_value(std::move(value)).id();
  }
  return {this, id};
}

namespace {

// Every size positive and their product a number: what shape() and all later arithmetic rely on.
bool has_sound_sizes(const WeightDeclaration& declaration) {
  int64_t elements = 1;
  for (const AxisList& axes : declaration.dims) {
    if (axes.empty()) return false;
    for (const AxisSize& axis : axes) {
      const auto product = checked_mul(elements, axis.size);
      if (axis.size < 1 || !product) return false;
      elements = *product;
    }
  }
  return !declaration.dims.empty() && declaration.dims.size() <= 3;
}

}  // namespace

Tensor Recorder::declare_weight(WeightDeclaration declaration) {
  const std::source_location where = place(declaration.where);
  if (declaration.name.empty()) throw ProgramError("a weight needs a name", where);
  if (!has_sound_sizes(declaration)) {
    throw ProgramError(
        fmt::format("weight {}: needs one to three dimensions of positive sizes", declaration.name),
        where);
  }
  const Dims shape = declaration.shape();
  if (const auto known = weights_.find(declaration.name); known != weights_.end()) {
    const Dims before = value(known->second).type.dims;
    if (before == shape) return {this, known->second};
    throw ProgramError(fmt::format("weight {}: {} was declared as {} before", declaration.name,
                                   to_string(shape), to_string(before)),
                       where);
  }
  const auto id = static_cast<WeightId>(program_.weights.size());
  const Tensor weight =
      add_value({Value::Kind::weight, InputKind::tokens, id, -1, 0, {DType::f32, shape}});
  weights_.emplace(declaration.name, weight.id());
  program_.weights.push_back(std::move(declaration));
  return weight;
}

Recorder::KvLayer Recorder::kv_layer(int64_t window, int64_t kv_heads, int64_t head_dim) {
  if (!options_.stateful) return {0, 0};
  std::vector<KvGroup>& groups = program_.kv_groups;
  auto group = std::find_if(groups.begin(), groups.end(), [&](const KvGroup& g) {
    return g.window == window && g.kv_heads == kv_heads && g.head_dim == head_dim;
  });
  if (group == groups.end()) group = groups.insert(group, {window, kv_heads, head_dim, 0});
  return {static_cast<int32_t>(group - groups.begin()), group->layers++};
}

bool Recorder::offer_tap(const std::string& name) {
  offered_taps_.push_back(name);
  bool asked = false;
  for (size_t i = 0; i < options_.taps.size(); ++i) {
    if (!glob_match(options_.taps[i], name)) continue;
    pattern_matched_[i] = true;
    asked = true;
  }
  return asked;
}

std::string Recorder::scoped(const std::string& label) const {
  std::string name;
  for (const OpenScope& scope : scopes_) name += scope.name + '.';
  return name + label;
}

std::source_location Recorder::place(const std::source_location& where) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (scope->place) return *scope->place;
  }
  return where;
}

std::string Recorder::unique_name(const std::string& label) {
  const std::string name = scoped(label);
  const auto [entry, is_new] = names_.emplace(name, 1);
  if (is_new) return name;
  int suffix = entry->second;
  std::string numbered;
  do {
    numbered = fmt::format("{}_{}", name, ++suffix);
  } while (!names_.emplace(numbered, 1).second);
  names_[name] = suffix;
  return numbered;
}

std::vector<Tensor> Recorder::append(Op op, Attributes attributes,
                                     const std::vector<Tensor>& operands,
                                     std::vector<ValueType> types, const std::string& label,
                                     const std::source_location& where) {
  Node node{op, std::move(attributes), {}, {}, unique_name(label), place(where)};
  for (const Tensor& operand : operands) {
    DUNLIN_CHECK(operand.defined() && &operand.recorder() == this, "operand of another recording");
    node.operands.push_back(operand.id());
  }
  const auto index = static_cast<int32_t>(program_.nodes.size());
  std::vector<Tensor> results;
  for (ValueType& type : types) {
    const auto number = static_cast<int32_t>(results.size());
    results.push_back(
        add_value({Value::Kind::node, InputKind::tokens, -1, index, number, std::move(type)}));
    node.results.push_back(results.back().id());
  }
  program_.nodes.push_back(std::move(node));
  return results;
}

void Recorder::output(const std::string& name, Tensor value, std::source_location where) {
  const std::string subject = fmt::format("output {}: ", name);
  if (!value.defined()) throw ProgramError(subject + "an undefined value", place(where));
  if (program_.find_output(name) != nullptr) {
    throw ProgramError(subject + "the name is taken", place(where));
  }
  program_.outputs.push_back({name, value.id()});
}

Result<void> Recorder::check_taps() const {
  for (size_t i = 0; i < options_.taps.size(); ++i) {
    if (pattern_matched_[i]) continue;
    return usage_error(fmt::format(
        "no tap of model {} matches \"{}\"; it has: {}", program_.model, options_.taps[i],
        offered_taps_.empty() ? std::string("none")
                              : fmt::format("{}", fmt::join(offered_taps_, ", "))));
  }
  return {};
}

Scope::Scope(Recorder& recorder, const std::string& name) : recorder_(recorder) {
  recorder_.scopes_.push_back({name, std::nullopt});
}

Scope::Scope(Recorder& recorder, const std::string& name, int64_t index) : recorder_(recorder) {
  recorder_.scopes_.push_back({fmt::format("{}.{}", name, index), std::nullopt});
}

Scope::Scope(Recorder& recorder, const std::string& name, const std::source_location& place)
    : recorder_(recorder) {
  recorder_.scopes_.push_back({name, place});
}

Scope::~Scope() {
  recorder_.scopes_.pop_back();
}

Result<Program> record(const std::string& model, const RecordOptions& options,
                       const std::function<void(Recorder&)>& forward) {
  try {
    Recorder recorder(model, options);
    forward(recorder);
    DUNLIN_RETURN_IF_ERROR(recorder.check_taps());
    Program program = std::move(recorder).finish();
    DUNLIN_RETURN_IF_ERROR(verify(program));
    return program;
  } catch (const ProgramError& error) {
    return model_error(error.what());
  }
}

}  // namespace dunlin

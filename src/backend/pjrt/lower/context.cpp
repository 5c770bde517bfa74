// Values, weights, state and the step's inputs while a program is lowered.
#include "backend/pjrt/lower/context.h"

#include "base/check.h"

namespace dunlin::pjrt {

LoweringContext::LoweringContext(const Program& p, const Bucket& sizes, const LoweringOptions& o)
    : b(o.sharding == nullptr ? DeviceGrid() : grid_of(o.sharding->mesh())),
      program(p),
      bucket(sizes),
      options(o),
      layout_(sizes),
      values_(p.values.size()) {}

Shape LoweringContext::bound(const Dims& dims) const {
  Shape sizes;
  for (const Dim& dim : dims) sizes.push_back(bucket.sizes().of(dim));
  return sizes;
}

TensorType LoweringContext::type_of(ValueId id) const {
  const ValueType& type = program.type(id);
  TensorType result{element_of(type.dtype), bound(type.dims)};
  if (on_mesh()) {
    const Layout& layout = options.sharding->values[static_cast<size_t>(id)];
    result.dims = options.sharding->local(layout, result.dims);
  }
  return result;
}

Var LoweringContext::value(ValueId id) {
  std::optional<Var>& known = values_[static_cast<size_t>(id)];
  const Value& value = program.values[static_cast<size_t>(id)];
  if (!known && value.kind == Value::Kind::weight) known = weight(id, {}).codes;
  if (!known && value.kind == Value::Kind::input) known = value_of(value.input);
  DUNLIN_CHECK(known.has_value(), "a value before its node");
  return *known;
}

Var LoweringContext::value_of(InputKind kind) const {
  return inputs_[static_cast<size_t>(kind)];
}

const DeviceWeight& LoweringContext::weight(ValueId id, const DeviceForm& form) const {
  const auto found = weights_.find({program.values[static_cast<size_t>(id)].weight, form});
  DUNLIN_CHECK(found != weights_.end(), "a weight that was not declared");
  return found->second;
}

const DeviceWeight& LoweringContext::matrix(ValueId id) const {
  return weight(id, matrix_form(format_of(id), options.precision, options.platform));
}

Format LoweringContext::format_of(ValueId id) const {
  const WeightId weight = program.values[static_cast<size_t>(id)].weight;
  return options.formats[static_cast<size_t>(weight)];
}

void LoweringContext::declare_arguments(const std::vector<WeightUse>& uses,
                                        const std::vector<TensorType>& types) {
  const ProgramSharding* const sharding = options.sharding.get();
  for (const WeightUse& use : uses) {
    const std::vector<TensorType> arrays = weight_types(program, use, sharding);
    std::vector<Splits> splits(arrays.size());
    if (on_mesh()) {
      const Layout& layout = sharding->weights[static_cast<size_t>(use.weight)];
      splits = weight_splits(splits_of(sharding->mesh(), layout), use.form);
    }
    DeviceWeight& declared = weights_[use];
    declared.form = use.form;
    declared.codes = b.argument(arrays[0], "", splits[0]);
    if (arrays.size() > 1) declared.scales = b.argument(arrays[1], "", splits[1]);
    if (arrays.size() > 2) declared.minimums = b.argument(arrays[2], "", splits[2]);
  }
  const Splits own = on_mesh() ? per_device_splits(sharding->mesh()) : Splits();
  if (on_mesh()) place_ = b.argument(place_type(), "", own);
  // State comes first among the results, so result i is what argument i of the state became.
  size_t next = 0;
  for (size_t group = 0; group < program.kv_groups.size(); ++group) {
    const Splits splits =
        on_mesh() ? state_splits(*sharding, static_cast<int32_t>(group)) : Splits();
    const KvGroup& of_group = program.kv_groups[group];
    const bool together = keys_beside_values(of_group.head_dim, options.platform);
    std::vector<LayerState>& layers = state_.emplace_back();
    for (int32_t layer = 0; layer < of_group.layers; ++layer) {
      Vars& arrays = layers.emplace_back().arrays;
      for (int i = 0; i < (together ? 1 : 2); ++i) {
        const TensorType& type = types[next];
        arrays.push_back(b.argument(type, kv_attributes(type, options, next), splits));
        ++next;
      }
    }
  }
  step_ = b.argument({Element::i32, {layout_.size}}, "", own);
  // Read here and not where they are used first: that may be inside a loop.
  for (size_t kind = 0; kind < kInputKinds; ++kind) {
    inputs_.push_back(step_input(static_cast<InputKind>(kind)));
  }
  const int64_t sequences = bucket.sequences();
  slots_ = field(layout_.slots, {sequences});
  row_counts_ = field(layout_.row_counts, {sequences});
  lengths_ = field(layout_.lengths, {sequences});
  for (size_t group = 0; group < bucket.groups.size(); ++group) {
    const int64_t pages = bucket.read_positions(group) / kPageTokens;
    page_positions_.push_back(field(layout_.pages[group], {sequences, pages}));
    place_positions_.push_back(positions_of_places(group));
  }
}

LoopInputs LoweringContext::loop_inputs() {
  const int64_t rows = bucket.rows();
  return {field(layout_.steps, {}), field(layout_.row_steps, {rows}),
          field(layout_.stop_ids, {rows, kStopIdsOfRow})};
}

void LoweringContext::set_rows(const LoopRows& rows) {
  inputs_[static_cast<size_t>(InputKind::tokens)] = rows.tokens;
  inputs_[static_cast<size_t>(InputKind::positions)] = rows.positions;
  inputs_[static_cast<size_t>(InputKind::row_sequences)] = rows.sequences;
  row_counts_ = rows.counts;
  lengths_ = rows.lengths;
  for (size_t group = 0; group < place_positions_.size(); ++group)
    place_positions_[group] = positions_of_places(group);
}

void LoweringContext::set_state(const Vars& arrays) {
  size_t next = 0;
  for (std::vector<LayerState>& layers : state_) {
    for (LayerState& layer : layers) {
      for (Var& array : layer.arrays) array = arrays[next++];
    }
  }
}

Var LoweringContext::tie_packed_weights(const Var& number) {
  Vars tied = {number};
  std::vector<Var*> arrays;
  for (auto& [use, weight] : weights_) {
    const DeviceForm::Kind kind = use.form.kind;
    // Rows that are looked up follow from the step's tokens.
    if (kind == DeviceForm::Kind::values || kind == DeviceForm::Kind::rows) continue;
    for (Var* const array : {&weight.codes, &weight.scales, &weight.minimums}) {
      if (array->name.empty()) continue;
      arrays.push_back(array);
      tied.push_back(*array);
    }
  }
  if (arrays.empty()) return number;
  const Vars held = b.barrier(tied);
  for (size_t i = 0; i < arrays.size(); ++i) *arrays[i] = held[i + 1];
  return held.front();
}

Var LoweringContext::field(const StepLayout::Field& field, const Shape& dims) {
  return b.reshape(b.slice(step_, 0, field.offset, field.offset + field.count), dims);
}

Var LoweringContext::float_field(const StepLayout::Field& f) {
  return b.bitcast(field(f, {f.count}), Element::f32);
}

Var LoweringContext::step_input(InputKind kind) {
  const int64_t rows = bucket.rows();
  switch (kind) {
    case InputKind::tokens:
      return field(layout_.tokens, {rows});
    case InputKind::positions:
      return field(layout_.positions, {rows});
    case InputKind::row_sequences:
      return field(layout_.row_sequences, {rows});
    case InputKind::logit_rows:
      return field(layout_.logit_rows, {bucket.logit_rows});
    case InputKind::temperatures:
      return float_field(layout_.temperatures);
    case InputKind::random:
      break;
  }
  return float_field(layout_.random);
}

Var LoweringContext::positions_of_places(size_t group) {
  const Var first_positions = page_positions_[group];
  const int64_t sequences = first_positions.dim(0);
  const int64_t pages = first_positions.dim(1);
  const Shape grid{sequences, pages, kPageTokens};
  const Var first = b.broadcast(first_positions, grid, {0, 1});
  const Var position = b.add(first, b.iota({Element::i32, grid}, 2));
  const Var held = b.compare("LT", position, b.broadcast(lengths_, grid, {0}));
  const Var present = b.both(held, b.compare("GE", first, b.filled_like(first, 0.0)));
  const Var places = b.select(present, position, b.filled_like(position, -1.0));
  return b.reshape(places, {sequences, pages * kPageTokens});
}

std::vector<SegmentRows> LoweringContext::segments() const {
  std::vector<SegmentRows> list;
  SegmentRows next;
  for (const BucketSegment& segment : bucket.segments) {
    next.shape = segment;
    list.push_back(next);
    next.first_row += segment.sequences * segment.rows_each;
    next.first_sequence += segment.sequences;
  }
  return list;
}

Var LoweringContext::at(const Var& list, int64_t index) {
  return b.reshape(b.slice(list, 0, index, index + 1), {});
}

Var LoweringContext::rows_of(const Var& x, const SegmentRows& rows) {
  return b.slice(x, 0, rows.first_row,
                 rows.first_row + rows.shape.sequences * rows.shape.rows_each);
}

LayerState& LoweringContext::state(int32_t group, int32_t layer) {
  return state_[static_cast<size_t>(group)][static_cast<size_t>(layer)];
}

Vars LoweringContext::state_results() const {
  Vars results;
  for (const std::vector<LayerState>& layers : state_) {
    for (const LayerState& layer : layers)
      results.insert(results.end(), layer.arrays.begin(), layer.arrays.end());
  }
  return results;
}

}  // namespace dunlin::pjrt

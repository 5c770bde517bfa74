// Sizes, rows and inputs of one step.
#include "backend/reference/step_context.h"

#include <algorithm>

namespace dunlin::reference {
namespace {

template <typename T>
Array vector_array(DType dtype, const std::vector<T>& values) {
  Array array(dtype, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), array.data<T>());
  return array;
}

// `values`, or `count` times `otherwise` when it is empty.
std::vector<float> or_default(const std::vector<float>& values, int64_t count, float otherwise) {
  return values.empty() ? std::vector<float>(static_cast<size_t>(count), otherwise) : values;
}

}  // namespace

StepContext::StepContext(const StepPlan& step_plan, ReferenceKvState& kv_state, KvType type)
    : plan(step_plan), state(kv_state), kv_type(type) {
  int64_t row = 0;
  for (const Segment& segment : plan.segments) {
    for (int32_t i = 0; i < segment.sequences; ++i) {
      const auto sequence = static_cast<int32_t>(sequences.size());
      const auto rows = static_cast<size_t>(segment.rows_each);
      sequences.push_back({row, row + segment.rows_each, segment.row_class});
      row_sequences.insert(row_sequences.end(), rows, sequence);
      row_classes.insert(row_classes.end(), rows, segment.row_class);
      row += segment.rows_each;
      lengths.push_back(plan.positions[static_cast<size_t>(row - 1)] + 1);
    }
  }
  if (!plan.lengths.empty()) lengths = plan.lengths;
  sizes.rows = plan.rows();
  sizes.logit_rows = static_cast<int64_t>(plan.logit_rows.size());
  sizes.sequences = static_cast<int64_t>(sequences.size());
  sizes.slots = *std::max_element(lengths.begin(), lengths.end());
}

Shape StepContext::shape(const Dims& dims) const {
  Shape shape;
  for (const Dim& dim : dims) shape.push_back(sizes.of(dim));
  return shape;
}

Array StepContext::input(InputKind kind) const {
  switch (kind) {
    case InputKind::tokens:
      return vector_array(DType::i32, plan.tokens);
    case InputKind::positions:
      return vector_array(DType::i32, plan.positions);
    case InputKind::row_sequences:
      return vector_array(DType::i32, row_sequences);
    case InputKind::logit_rows:
      return vector_array(DType::i32, plan.logit_rows);
    case InputKind::temperatures:
      return vector_array(DType::f32, or_default(plan.temperatures, sizes.logit_rows, 1.0f));
    case InputKind::random:
      break;
  }
  return vector_array(DType::f32, or_default(plan.random, sizes.logit_rows, 0.0f));
}

std::vector<RowClass> StepContext::classes_of(const Dims& leading) const {
  std::vector<RowClass> of_symbol{RowClass::prompt};
  int64_t repeats = 1;  // consecutive rows that share an element of the symbol's dimension
  for (const Dim& dim : leading) {
    const bool decides = dim.symbol == Symbol::rows || dim.symbol == Symbol::logit_rows ||
                         dim.symbol == Symbol::sequences;
    if (!decides) {
      repeats *= sizes.of(dim);
      continue;
    }
    repeats = 1;
    of_symbol.clear();
    if (dim.symbol == Symbol::rows) of_symbol = row_classes;
    if (dim.symbol == Symbol::logit_rows) {
      for (const int32_t row : plan.logit_rows) {
        of_symbol.push_back(row_classes[static_cast<size_t>(row)]);
      }
    }
    if (dim.symbol == Symbol::sequences) {
      for (const SequenceRows& rows : sequences) of_symbol.push_back(rows.row_class);
    }
  }
  const int64_t count = element_count(shape(leading));
  std::vector<RowClass> classes(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t element = i / repeats % static_cast<int64_t>(of_symbol.size());
    classes[static_cast<size_t>(i)] = of_symbol[static_cast<size_t>(element)];
  }
  return classes;
}

}  // namespace dunlin::reference

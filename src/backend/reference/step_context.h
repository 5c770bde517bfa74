// What a StepPlan means to the operations: sizes of the symbols, the sequence and class of each
// row, and how much of each sequence is in the cache.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/reference/array.h"
#include "backend/reference/kv_state.h"
#include "program/program.h"
#include "step/step.h"

namespace dunlin::reference {

struct SequenceRows {  // rows [first, end) of one sequence
  int64_t first;
  int64_t end;
  RowClass row_class;
};

struct StepContext {
  StepContext(const StepPlan& step_plan, ReferenceKvState& kv_state, KvType type);

  const StepPlan& plan;
  ReferenceKvState& state;
  KvType kv_type;  // what keys and values are kept as
  SymbolSizes sizes;
  std::vector<SequenceRows> sequences;  // [S]
  std::vector<int32_t> row_sequences;   // [T]
  std::vector<RowClass> row_classes;    // [T]
  std::vector<int32_t> lengths;         // [S]: positions in the cache after this step's writes

  Shape shape(const Dims& dims) const;
  Array input(InputKind kind) const;
  // The class of each row of a value with these leading dimensions: that of the rows of the step,
  // of the rows that logits are wanted for, or of the sequences, whichever symbol is among them.
  std::vector<RowClass> classes_of(const Dims& leading) const;
};

}  // namespace dunlin::reference

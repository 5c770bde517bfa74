// Choice of what runs a node: the kernel table of the chosen instruction set, else the scalar
// function of the reference back end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "program/program.h"

namespace dunlin::cpu {

// Rows of a value by its leading dimensions: `repeats` per element of the symbol's dimension.
struct LeadingRows {
  Symbol symbol = Symbol::none;
  int64_t repeats = 1;

  int64_t count(const SymbolSizes& sizes) const {
    return symbol == Symbol::none ? repeats : repeats * sizes.of(symbol);
  }
};

// How the rows of a value follow from its leading dimensions (all but the last `inner`); nothing
// where a second symbol, or a known dimension before the symbol, makes their classes irregular.
std::optional<LeadingRows> leading_rows(const Dims& dims, size_t inner);

// Where a node can run, best first.
enum class Runner : uint8_t { view, kernel, reference };

struct RunnerCandidate {
  Runner runner;
  std::string refusal;  // why it cannot run the node; empty: it can
};

// Best first: a view (no work at all), the kernel table, the reference back end, which refuses
// nothing.
std::vector<RunnerCandidate> runner_candidates(const Program& program, const Node& node);

Runner select_runner(const Program& program, const Node& node);

// Bytes from the start of a view's operand to its first element.
int64_t view_offset(const Program& program, const Node& node);

const Node* producer(const Program& program, ValueId id);  // null: an input or a weight
bool is_weight(const Program& program, ValueId id);

// Whether operand number `operand` of a node that a kernel runs is read as a packed matrix.
bool reads_packed(const Node& node, size_t operand);

}  // namespace dunlin::cpu

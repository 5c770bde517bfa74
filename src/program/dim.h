// Dim: a size in a Program, known or one of the symbols that a step binds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dunlin {

// T rows of the step, R rows whose logits are wanted, S sequences, C slots of the longest
// sequence's cache.
enum class Symbol : uint8_t { none, rows, logit_rows, sequences, slots };

struct Dim {
  Symbol symbol = Symbol::none;
  int64_t size = 0;  // when symbol is none

  Dim(int64_t known) : size(known) {}                // NOLINT(google-explicit-constructor)
  Dim(Symbol unknown) : symbol(unknown), size(0) {}  // NOLINT(google-explicit-constructor)
  bool known() const { return symbol == Symbol::none; }
  friend bool operator==(const Dim&, const Dim&) = default;
};

using Dims = std::vector<Dim>;  // outermost first

std::string to_string(const Dim& dim);    // "T", "R", "S", "C" or the number
std::string to_string(const Dims& dims);  // "[T,32,64]"

// The sizes that a step gives to the symbols.
struct SymbolSizes {
  int64_t rows = 0;
  int64_t logit_rows = 0;
  int64_t sequences = 0;
  int64_t slots = 0;

  int64_t of(const Dim& dim) const {
    switch (dim.symbol) {
      case Symbol::rows:
        return rows;
      case Symbol::logit_rows:
        return logit_rows;
      case Symbol::sequences:
        return sequences;
      case Symbol::slots:
        return slots;
      case Symbol::none:
        break;
    }
    return dim.size;
  }
};

}  // namespace dunlin

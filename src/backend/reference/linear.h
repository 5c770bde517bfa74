// Weights of `linear` and `experts`, decoded once at compile into what their arithmetic reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/api.h"

namespace dunlin::reference {

// A weight [rows, columns] under one precision.
struct LinearWeight {
  int64_t rows = 0;
  int64_t columns = 0;
  Arithmetic prompt = Arithmetic::f32;
  Arithmetic generated = Arithmetic::f32;

  // f32 or bf16 arithmetic: the values (rounded to bf16 for bf16), in panels of kPanelRows rows
  // with the rows innermost: value (row, k) is at (row / 16 * columns + k) * 16 + row mod 16.
  std::vector<float> panels;

  // int8 arithmetic: codes [rows, columns], scales and mins [rows, columns / group]; the group of
  // int8wide is a row.
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<float> mins;
  int64_t group = 0;

  Arithmetic arithmetic(RowClass row_class) const {
    return row_class == RowClass::prompt ? prompt : generated;
  }
  int64_t activation_group() const;  // columns that share an activation scale of integers
  uint64_t bytes() const;
};

inline constexpr int64_t kPanelRows = 16;

// A weight without values, to be filled by set_rows. `kept`: one of kept_weights().
LinearWeight make_linear_weight(Format format, int64_t rows, int64_t columns, Precision precision,
                                bool kept = false);

// bytes() of such a weight, without making it.
uint64_t linear_weight_bytes(Format format, int64_t rows, int64_t columns, Precision precision,
                             bool kept = false);

// Decodes `count` rows of a form from `bytes` into rows [first, first + count).
void set_rows(LinearWeight& weight, const RowForm& form, int64_t first, int64_t count,
              const std::byte* bytes);

// y[i] = x[i] w^T for each row i of x[n, columns], in the arithmetic of classes[i]; y[n, rows].
void linear(const LinearWeight& weight, const float* x, std::span<const RowClass> classes,
            float* y);

}  // namespace dunlin::reference

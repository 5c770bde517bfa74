// y = x w^T over prepared weights. Panels let one pass over 16 weight rows use vectors without
// touching the order of any sum; weights are the outer loop so that they are read once for all rows
// of a step.
#include "backend/reference/linear.h"

#include <algorithm>

#include "backend/reference/scalar.h"

namespace dunlin::reference {
namespace {

template <typename T>
uint64_t vector_bytes(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

// The rows of x that use one arithmetic, gathered: rounded for bf16.
struct FloatRows {
  std::vector<int64_t> rows;
  std::vector<float> values;
};

FloatRows gather_float_rows(const LinearWeight& weight, const float* x,
                            std::span<const RowClass> classes) {
  FloatRows gathered;
  for (size_t row = 0; row < classes.size(); ++row) {
    const Arithmetic arithmetic = weight.arithmetic(classes[row]);
    if (is_integer(arithmetic)) continue;
    const float* values = x + static_cast<int64_t>(row) * weight.columns;
    gathered.rows.push_back(static_cast<int64_t>(row));
    gathered.values.insert(gathered.values.end(), values, values + weight.columns);
    if (arithmetic == Arithmetic::bf16) {
      std::for_each(gathered.values.end() - weight.columns, gathered.values.end(),
                    [](float& value) { value = round_to_bf16(value); });
    }
  }
  return gathered;
}

void multiply_panels(const LinearWeight& weight, const FloatRows& x, float* y) {
  if (x.rows.empty()) return;
  for (int64_t first = 0; first < weight.rows; first += kPanelRows) {
    const float* panel = weight.panels.data() + first * weight.columns;
    const int64_t width = std::min(kPanelRows, weight.rows - first);
    for (size_t i = 0; i < x.rows.size(); ++i) {
      const float* row = x.values.data() + static_cast<int64_t>(i) * weight.columns;
      float sums[kPanelRows];
      chain_dot_columns(row, panel, 0, weight.columns, kPanelRows, sums);
      std::copy_n(sums, width, y + x.rows[i] * weight.rows + first);
    }
  }
}

IntegerRow integer_row(const LinearWeight& weight, int64_t row) {
  const int64_t groups = weight.columns / weight.group;
  return {weight.codes.data() + row * weight.columns, weight.scales.data() + row * groups,
          weight.mins.empty() ? nullptr : weight.mins.data() + row * groups, weight.group};
}

void multiply_integers(const LinearWeight& weight, const float* x, float* y) {
  std::vector<int8_t> codes(static_cast<size_t>(weight.columns));
  const int64_t group = weight.activation_group();
  std::vector<float> scales(static_cast<size_t>(weight.columns / group));
  quantize_activations(x, weight.columns, codes.data(), scales.data(), group);
  for (int64_t row = 0; row < weight.rows; ++row) {
    y[row] = int8_dot(codes.data(), scales.data(), integer_row(weight, row), weight.columns);
  }
}

}  // namespace

int64_t LinearWeight::activation_group() const {
  return prompt == Arithmetic::int8wide ? columns : kActivationGroup;
}

uint64_t LinearWeight::bytes() const {
  return vector_bytes(panels) + vector_bytes(codes) + vector_bytes(scales) + vector_bytes(mins);
}

namespace {

// Elements of the vectors of a LinearWeight.
struct LinearSizes {
  Arithmetic prompt, generated;
  int64_t group = 0;
  size_t panels = 0, codes = 0, scales = 0, mins = 0;

  LinearSizes(Format format, int64_t rows, int64_t columns, Precision precision, bool kept)
      : prompt(linear_arithmetic(format, precision, RowClass::prompt, kept)),
        generated(linear_arithmetic(format, precision, RowClass::generated, kept)) {
    if (!is_integer(prompt) || !is_integer(generated)) {
      const int64_t padded_rows = (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
      panels = static_cast<size_t>(padded_rows * columns);
    }
    if (is_integer(prompt) || is_integer(generated)) {
      const FormatTraits& format_traits = traits(format);
      const bool wide = prompt == Arithmetic::int8wide;
      group = wide ? columns : format_traits.code_group();
      codes = static_cast<size_t>(rows * columns);
      scales = static_cast<size_t>(rows * (columns / group));
      if (!wide && format_traits.has_min) mins = scales;
    }
  }
};

}  // namespace

LinearWeight make_linear_weight(Format format, int64_t rows, int64_t columns, Precision precision,
                                bool kept) {
  const LinearSizes sizes(format, rows, columns, precision, kept);
  LinearWeight weight;
  weight.rows = rows;
  weight.columns = columns;
  weight.prompt = sizes.prompt;
  weight.generated = sizes.generated;
  weight.group = sizes.group;
  weight.panels.resize(sizes.panels);
  weight.codes.resize(sizes.codes);
  weight.scales.resize(sizes.scales);
  weight.mins.resize(sizes.mins);
  return weight;
}

uint64_t linear_weight_bytes(Format format, int64_t rows, int64_t columns, Precision precision,
                             bool kept) {
  const LinearSizes sizes(format, rows, columns, precision, kept);
  return sizeof(float) * (sizes.panels + sizes.scales + sizes.mins) + sizes.codes;
}

namespace {

void set_codes(LinearWeight& weight, const RowForm& form, int64_t row, const std::byte* stored) {
  int8_t* const codes = weight.codes.data() + row * weight.columns;
  if (weight.prompt == Arithmetic::int8wide) {
    std::vector<float> values(static_cast<size_t>(weight.columns));
    form.decode(stored, 1, values.data());
    weight.scales[static_cast<size_t>(row)] = quantize_group(values.data(), weight.columns, codes);
    return;
  }
  const int64_t groups = weight.columns / weight.group;
  form.decode_groups(stored, codes, weight.scales.data() + row * groups,
                     weight.mins.empty() ? nullptr : weight.mins.data() + row * groups);
}

}  // namespace

void set_rows(LinearWeight& weight, const RowForm& form, int64_t first, int64_t count,
              const std::byte* bytes) {
  // No weight has both f32 and bf16 arithmetic, so one rounding serves both row classes.
  const bool round = weight.prompt == Arithmetic::bf16 || weight.generated == Arithmetic::bf16;
  std::vector<float> values(static_cast<size_t>(weight.columns));
  for (int64_t row = first; row < first + count; ++row) {
    const std::byte* stored = bytes + (row - first) * form.bytes();
    if (!weight.panels.empty()) {
      form.decode(stored, 1, values.data());
      float* panel =
          weight.panels.data() + row / kPanelRows * kPanelRows * weight.columns + row % kPanelRows;
      for (int64_t k = 0; k < weight.columns; ++k) {
        const float value = values[static_cast<size_t>(k)];
        panel[k * kPanelRows] = round ? round_to_bf16(value) : value;
      }
    }
    if (!weight.codes.empty()) set_codes(weight, form, row, stored);
  }
}

void linear(const LinearWeight& weight, const float* x, std::span<const RowClass> classes,
            float* y) {
  multiply_panels(weight, gather_float_rows(weight, x, classes), y);
  for (size_t i = 0; i < classes.size(); ++i) {
    if (!is_integer(weight.arithmetic(classes[i]))) continue;
    const auto row = static_cast<int64_t>(i);
    multiply_integers(weight, x + row * weight.columns, y + row * weight.rows);
  }
}

}  // namespace dunlin::reference

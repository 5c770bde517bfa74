// Random weights in memory, encoded to the format of the case.
#include <cmath>
#include <limits>
#include <map>

#include "case_random.h"
#include "case_runner.h"

namespace dunlin {
namespace {

constexpr int64_t kZeroToken = 16;  // one input row in so many is zero

std::vector<float> random_row(CaseRandom& random, const std::string& name, bool matrix, int64_t row,
                              int64_t columns) {
  const bool input = name.starts_with("inputs.");
  const float spread = input ? 1.7f : matrix ? std::sqrt(3.0f / static_cast<float>(columns)) : 0.5f;
  const float middle = name.find("norm") != std::string::npos ? 1.0f : 0.0f;
  std::vector<float> values(static_cast<size_t>(columns));
  for (float& value : values) value = middle + spread * random.centered();
  for (size_t i = 0; i < values.size() && name.ends_with("_with_nan"); ++i) {
    if (i % 5 == 3) values[i] = std::numeric_limits<float>::quiet_NaN();
  }
  for (size_t i = 0; i < values.size() && name.ends_with("_with_few_numbers"); ++i) {
    if (i % 11 != 5) values[i] = std::numeric_limits<float>::quiet_NaN();
  }
  if (input && row % kZeroToken == kZeroToken - 1) values.assign(values.size(), 0.0f);
  return values;
}

std::vector<std::byte> random_bytes(const WeightView& view, bool matrix) {
  const RowForm form = view.row_form();
  CaseRandom random(view.name);
  const auto row_size = static_cast<size_t>(view.bytes_per_row());
  std::vector<std::byte> bytes(static_cast<size_t>(view.rows) * row_size);
  for (int64_t row = 0; row < view.rows; ++row) {
    std::byte* to = bytes.data() + static_cast<size_t>(row) * row_size;
    const std::vector<float> values = random_row(random, view.name, matrix, row, view.columns);
    if (form.scale_columns == 0) {
      form.format->encode(values.data(), view.columns, nullptr, to);
      continue;
    }
    std::vector<float> scales(static_cast<size_t>(form.scales()));
    form.find_scales(values.data(), 1, scales.data());
    form.encode(values.data(), scales.data(), to);
  }
  return bytes;
}

// Scales beside the elements: one for a row of integers, which is what the CPU packs, and one for 128
// columns of floats.
int64_t scale_columns(const FormatTraits& format, int64_t columns) {
  if (format.largest == 0.0f) return 0;
  return format.group > 0 ? columns : 128;
}

}  // namespace

WeightSource case_weights(const Program& program, Format format) {
  std::map<std::string, WeightView> views;
  for (const WeightDeclaration& declaration : program.weights) {
    const bool matrix = declaration.dims.size() > 1;
    const bool input = declaration.name.starts_with("inputs.");
    WeightView view;
    view.name = declaration.name;
    view.format = matrix && !input ? format : Format::f32;
    view.columns = extent(declaration.dims.back());
    view.scale_columns = scale_columns(traits(view.format), view.columns);
    view.rows = 1;
    for (size_t i = 0; i + 1 < declaration.dims.size(); ++i) {
      view.rows *= extent(declaration.dims[i]);
    }
    view.source = memory_source(random_bytes(view, matrix), "random " + view.name);
    views.emplace(view.name, view);
  }
  return [views = std::move(views)](const std::string& name) -> Result<WeightView> {
    const auto found = views.find(name);
    if (found == views.end()) return model_error("no weight " + name);
    return found->second;
  };
}

}  // namespace dunlin

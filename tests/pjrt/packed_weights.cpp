#include "packed_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "base/byte_source.h"
#include "formats/mxfp4.h"

namespace dunlin::pjrt {
namespace {

float float_at(const std::vector<std::byte>& array, int64_t index) {
  float value;
  std::memcpy(&value, array.data() + 4 * index, sizeof value);
  return value;
}

float code_value(CodeType code, std::byte byte) {
  const auto bits = std::to_integer<uint8_t>(byte);
  if (code == CodeType::f4) return kFp4Values[bits & 0x0f];
  return static_cast<float>(static_cast<int8_t>(bits));
}

}  // namespace

WeightView random_weight(Format format, int64_t rows, int64_t columns) {
  WeightView view;
  view.name = std::string("random ") + traits(format).name;
  view.format = format;
  view.rows = rows;
  view.columns = columns;
  if (traits(format).largest > 0.0f) view.scale_columns = columns;
  const RowForm form = view.row_form();
  std::vector<std::byte> bytes(static_cast<size_t>(rows * form.bytes()));
  std::vector<float> values(static_cast<size_t>(columns));
  std::vector<float> scales(static_cast<size_t>(form.scales()));
  uint32_t random = 12345;
  for (int64_t row = 0; row < rows; ++row) {
    for (float& value : values) {
      random = random * 1664525u + 1013904223u;
      value = (static_cast<float>(random >> 8) / 16777216.0f - 0.5f) * 0.25f;
    }
    std::byte* const to = bytes.data() + row * form.bytes();
    if (view.scale_columns == 0) {
      form.format->encode(values.data(), columns, nullptr, to);
      continue;
    }
    form.find_scales(values.data(), 1, scales.data());
    form.encode(values.data(), scales.data(), to);
  }
  view.source = memory_source(std::move(bytes), view.name);
  return view;
}

std::vector<float> decoded(const WeightView& view) {
  std::vector<std::byte> bytes(static_cast<size_t>(view.rows * view.bytes_per_row()));
  EXPECT_TRUE(view.read_rows(0, view.rows, bytes).ok());
  std::vector<float> values(static_cast<size_t>(view.rows * view.columns));
  view.row_form().decode(bytes.data(), view.rows, values.data());
  return values;
}

std::vector<Format> packed_formats() {
  std::vector<Format> formats;
  for (const FormRow& row : form_table(Platform::tpu)) {
    if (row.form.kind != DeviceForm::Kind::values) formats.push_back(row.format);
  }
  return formats;
}

std::vector<float> values_of(const HostArrays& arrays, const DeviceForm& form, int64_t matrices,
                             int64_t outputs, int64_t columns) {
  const int64_t groups = form.group == 0 ? 1 : columns / form.group;
  const bool in_rows = form.kind == DeviceForm::Kind::rows || form.inputs_last;
  std::vector<float> values;
  for (int64_t m = 0; m < matrices; ++m) {
    for (int64_t o = 0; o < outputs; ++o) {
      // Element i of `each` of this output.
      const auto place = [&](int64_t i, int64_t each) {
        return in_rows ? (m * outputs + o) * each + i : (m * each + i) * outputs + o;
      };
      for (int64_t k = 0; k < columns; ++k) {
        const int64_t scale_place = place(form.group == 0 ? 0 : k / form.group, groups);
        const float scale =
            form.exponents
                ? std::ldexp(
                      1.0f, std::to_integer<int>(arrays[1][static_cast<size_t>(scale_place)]) - 127)
                : float_at(arrays[1], scale_place);
        const float code = code_value(form.code, arrays[0][static_cast<size_t>(place(k, columns))]);
        const float product = scale * code;
        values.push_back(form.minimums ? product + float_at(arrays[2], scale_place) : product);
      }
    }
  }
  return values;
}

}  // namespace dunlin::pjrt

// Which packed form a weight takes.
#include <array>

#include "backend/cpu/kernels/packed.h"

namespace dunlin {

const char* packed_form_name(PackedForm form) {
  constexpr std::array<const char*, kPackedForms> kNames = {
      "f32", "bf16", "f16", "q4", "q4_min", "q5", "q5_min", "q6", "q8", "mxfp4", "wide"};
  return kNames[static_cast<size_t>(form)];
}

namespace {

std::optional<PackedForm> integer_form(const FormatTraits& format) {
  if (format.bits <= 4) return format.has_min ? PackedForm::q4_min : PackedForm::q4;
  if (format.bits == 5) return format.has_min ? PackedForm::q5_min : PackedForm::q5;
  if (format.has_min) return std::nullopt;
  if (format.bits == 6) return PackedForm::q6;
  return format.group == 32 ? std::optional(PackedForm::q8) : std::nullopt;
}

PackedForm value_form(const FormatTraits& format, bool exact_rows) {
  if (format.format == Format::f16 && exact_rows) return PackedForm::f16;
  const bool scaled = format.largest > 0.0f;  // products of float32, which bf16 only rounds
  return format.format == Format::f32 || (scaled && exact_rows) ? PackedForm::f32
                                                                : PackedForm::bf16;
}

}  // namespace

std::optional<PackedLayout> packed_layout(const FormatTraits& format, int64_t rows, int64_t columns,
                                          bool exact_rows) {
  PackedLayout layout;
  layout.rows = rows;
  layout.columns = columns;
  if (format.format == Format::mxfp4) {
    layout.form = PackedForm::mxfp4;
    layout.scale = ScaleType::e8m0;
    layout.group = 32;
    return layout;
  }
  if (format.group == 0) {
    layout.form = value_form(format, exact_rows);
    return layout;
  }
  if (format.group != 32 && format.group != 16) return std::nullopt;
  const std::optional<PackedForm> form = integer_form(format);
  if (!form) return std::nullopt;
  layout.form = *form;
  layout.group = static_cast<int>(format.group);
  layout.scale = format.decode_factors != nullptr ? ScaleType::factors
                 : format.largest > 0.0f          ? ScaleType::f32
                                                  : ScaleType::f16;
  return layout;
}

PackedLayout wide_layout(int64_t rows, int64_t columns) {
  PackedLayout layout;
  layout.form = PackedForm::wide;
  layout.scale = ScaleType::channel;
  layout.rows = rows;
  layout.columns = columns;
  return layout;
}

}  // namespace dunlin

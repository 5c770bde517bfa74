// Packing: rows of any number format into stripes of sixteen channels.
#include "backend/cpu/kernels/packed.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"

namespace dunlin {

namespace {

constexpr int64_t kScratchAlign = 64;

int64_t aligned(int64_t bytes) {
  return (bytes + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
}

bool is_integer(PackedForm form) {
  return form == PackedForm::q4 || form == PackedForm::q4_min || form == PackedForm::q8;
}

int64_t code_bytes(PackedForm form) {
  return form == PackedForm::q8 ? 1024 : 512;
}

// Value `index` of the scales or minima of a record.
void put_scale(ScaleType type, std::byte* scales, int64_t index, float value) {
  if (type == ScaleType::f32) {
    std::memcpy(scales + 4 * index, &value, 4);
    return;
  }
  const float16 half = to_float16(value);
  std::memcpy(scales + 2 * index, &half, 2);
}

// One row of codes, 64 columns to a record, into its channel.
void put_codes(const PackedLayout& layout, const int8_t* codes, int64_t channel,
               std::byte* stripe) {
  for (int64_t k = 0; k < layout.columns; ++k) {
    std::byte* record = stripe + k / 64 * layout.record_bytes();
    const int64_t within = k % 64;
    const int code = codes[k];
    if (layout.form == PackedForm::q8) {
      record[64 * (within / 4) + 4 * channel + within % 4] = static_cast<std::byte>(code + 128);
      continue;
    }
    const int stored = layout.form == PackedForm::q4 ? code + 8 : code;
    const int shift = within % 8 < 4 ? 0 : 4;
    record[64 * (within / 8) + 4 * channel + within % 4] |= static_cast<std::byte>(stored << shift);
  }
}

void put_scales(const PackedLayout& layout, const float* scales, int64_t channel, int64_t offset,
                std::byte* stripe) {
  const int64_t per_record = 64 / layout.group;
  for (int64_t group = 0; group < layout.columns / layout.group; ++group) {
    std::byte* record = stripe + group / per_record * layout.record_bytes();
    put_scale(layout.scale, record + offset, group % per_record * kStripeRows + channel,
              scales[group]);
  }
}

void put_values(const PackedLayout& layout, const float* values, int64_t channel,
                std::byte* stripe) {
  for (int64_t k = 0; k < layout.columns; ++k) {
    if (layout.form == PackedForm::f32) {
      std::memcpy(stripe + 64 * k + 4 * channel, values + k, 4);
      continue;
    }
    const uint16_t bits =
        layout.form == PackedForm::bf16 ? to_bfloat16(values[k]).bits : to_float16(values[k]).bits;
    std::memcpy(stripe + 64 * (k / 2) + 4 * channel + 2 * (k % 2), &bits, 2);
  }
}

}  // namespace

const char* packed_form_name(PackedForm form) {
  constexpr std::array<const char*, kPackedForms> kNames = {"f32", "bf16",   "f16",
                                                            "q4",  "q4_min", "q8"};
  return kNames[static_cast<size_t>(form)];
}

int64_t PackedLayout::scale_bytes() const {
  if (group == 0) return 0;
  return 64 / group * kStripeRows * (scale == ScaleType::f16 ? 2 : 4);
}

int64_t PackedLayout::record_bytes() const {
  if (form == PackedForm::f32) return 2048;
  if (!is_integer(form)) return 1024;
  return code_bytes(form) + scale_bytes() * (form == PackedForm::q4_min ? 2 : 1);
}

std::optional<PackedLayout> packed_layout(const FormatTraits& format, int64_t rows, int64_t columns,
                                          bool exact_rows) {
  PackedLayout layout;
  layout.rows = rows;
  layout.columns = columns;
  if (format.group == 0) {
    switch (format.format) {
      case Format::f32:
        layout.form = PackedForm::f32;
        return layout;
      case Format::f16:
        layout.form = exact_rows ? PackedForm::f16 : PackedForm::bf16;
        return layout;
      case Format::bf16:
        layout.form = PackedForm::bf16;
        return layout;
      default:
        return std::nullopt;
    }
  }
  const bool four_bits = format.bits == 4 && format.group == 32;
  const bool eight_bits =
      format.bits == 8 && !format.has_min && (format.group == 32 || format.group == 16);
  if (!four_bits && !eight_bits) return std::nullopt;
  layout.form = eight_bits ? PackedForm::q8 : format.has_min ? PackedForm::q4_min : PackedForm::q4;
  layout.group = static_cast<int>(format.group);
  // A block of one group stores its scale as a half; a super-block multiplies two, which needs
  // float32.
  layout.scale = format.block_elements == format.group ? ScaleType::f16 : ScaleType::f32;
  return layout;
}

// Scratch: the values of one row, or its codes, scales and minima.
int64_t pack_scratch_bytes(const PackedLayout& layout) {
  if (!is_integer(layout.form)) return aligned(layout.columns * 4);
  return aligned(layout.columns) + 2 * aligned(layout.columns / layout.group * 4);
}

void pack_stripe(const PackedLayout& layout, const FormatTraits& format, const std::byte* rows,
                 int64_t count, std::byte* scratch, std::byte* stripe) noexcept {
  DUNLIN_CHECK(count >= 1 && count <= kStripeRows, "a stripe has 1 to 16 rows");
  std::memset(stripe, 0, static_cast<size_t>(layout.stripe_bytes()));
  const int64_t stored_bytes = row_bytes(format, layout.columns);
  for (int64_t channel = 0; channel < count; ++channel) {
    const std::byte* row = rows + channel * stored_bytes;
    if (!is_integer(layout.form)) {
      float* values = reinterpret_cast<float*>(scratch);
      format.decode(row, layout.columns, values);
      put_values(layout, values, channel, stripe);
      continue;
    }
    int8_t* codes = reinterpret_cast<int8_t*>(scratch);
    float* scales = reinterpret_cast<float*>(scratch + aligned(layout.columns));
    float* mins = scales + aligned(layout.columns / layout.group * 4) / 4;
    format.decode_groups(row, layout.columns, codes, scales, mins);
    put_codes(layout, codes, channel, stripe);
    put_scales(layout, scales, channel, code_bytes(layout.form), stripe);
    if (layout.form != PackedForm::q4_min) continue;
    put_scales(layout, mins, channel, code_bytes(layout.form) + layout.scale_bytes(), stripe);
  }
}

}  // namespace dunlin

// Packing: rows of any number format into stripes of sixteen channels.
#include "backend/cpu/kernels/packed.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "backend/cpu/kernels/symmetric_codes.h"
#include "base/check.h"
#include "base/float16.h"
#include "formats/mxfp4.h"

namespace dunlin {

namespace {

constexpr int64_t kScratchAlign = 64;

int64_t aligned(int64_t bytes) {
  return (bytes + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
}

std::byte* record_of(const PackedLayout& layout, std::byte* stripe, int64_t k) {
  return stripe + layout.records_at() + k / layout.record_columns() * layout.record_bytes();
}

void put_float16(float value, std::byte* values, int64_t index) {
  const float16 half = to_float16(value);
  std::memcpy(values + 2 * index, &half, 2);
}

// The stored code of column k of a record, into its channel.
void put_code(const PackedLayout& layout, std::byte* record, int64_t k, int64_t channel, int code) {
  const int64_t byte = 4 * channel + k % 4;
  if (layout.form == PackedForm::q8) {
    record[64 * (k / 4) + byte] = static_cast<std::byte>(code);
    return;
  }
  const int shift = k % 8 < 4 ? 0 : 4;
  record[64 * (k / 8) + byte] |= static_cast<std::byte>((code & 15) << shift);
  const int64_t high_bits = code_bits(layout.form) - 4;
  if (high_bits == 0) return;
  std::byte* high = record + 8 * layout.record_columns() + 64 * high_bits * (k / 32);
  const int64_t four = k % 32 / 4;
  const int64_t per_byte = 8 / high_bits;
  high[64 * (four / per_byte) + byte] |=
      static_cast<std::byte>(code >> 4 << (high_bits * (four % per_byte)));
}

// Memory for one row on its way: its values, or its codes and scales.
struct RowScratch {
  RowScratch(const PackedLayout& layout, std::byte* memory) {
    const auto take = [&]<typename T>(T** member, int64_t count) {
      if (memory != nullptr) *member = reinterpret_cast<T*>(memory + bytes);
      bytes += aligned(count * static_cast<int64_t>(sizeof(T)));
    };
    if (layout.scale == ScaleType::none || layout.scale == ScaleType::channel) {
      take(&values, layout.columns);
      return;
    }
    const int64_t groups = layout.columns / layout.group;
    take(&codes, layout.columns);
    take(&scales, groups);
    take(&mins, groups);
    take(&factors, groups);
    take(&min_factors, groups);
  }

  float* values = nullptr;
  int8_t* codes = nullptr;
  float* scales = nullptr;  // of groups, or d of super-blocks
  float* mins = nullptr;    // of groups, or dmin
  int8_t* factors = nullptr;
  int8_t* min_factors = nullptr;
  int64_t bytes = 0;
};

void pack_values(const PackedLayout& layout, const float* values, int64_t channel,
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

// One scale and the codes of a whole row: its records lie without a gap, four columns to a line.
void pack_wide(const PackedLayout& layout, const float* values, int64_t channel,
               std::byte* stripe) {
  const SymmetricCodes codes = SymmetricCodes::of(values, layout.columns);
  std::memcpy(stripe + 4 * channel, &codes.scale, 4);
  std::byte* const lines = stripe + layout.records_at() + 4 * channel;
  for (int64_t k = 0; k < layout.columns; ++k) {
    const int code = codes.code(values[k]) + code_offset(PackedForm::wide);
    lines[64 * (k / 4) + k % 4] = static_cast<std::byte>(code);
  }
}

void pack_row_scale(const PackedLayout& layout, float scale, int64_t channel, std::byte* stripe) {
  for (int64_t record = 0; record < layout.records(); ++record) {
    std::byte* scales = stripe + record * layout.record_bytes() + layout.code_bytes();
    std::memcpy(scales + 4 * channel, &scale, 4);
  }
}

void pack_scales(const PackedLayout& layout, const RowScratch& row, int64_t channel,
                 std::byte* stripe) {
  for (int64_t group = 0; group < layout.columns / layout.group; ++group) {
    std::byte* scales = record_of(layout, stripe, group * layout.group) + layout.code_bytes();
    const int64_t index = group % layout.record_groups() * kStripeRows + channel;
    put_float16(row.scales[group], scales, index);
    if (has_min(layout.form)) put_float16(row.mins[group], scales + layout.mins_at(), index);
  }
}

void pack_factors(const PackedLayout& layout, const RowScratch& row, int64_t channel,
                  std::byte* stripe) {
  const int64_t groups = layout.record_groups();
  for (int64_t block = 0; block < layout.records(); ++block) {
    std::byte* scales = stripe + block * layout.record_bytes() + layout.code_bytes();
    put_float16(row.scales[block], scales, channel);
    if (has_min(layout.form)) put_float16(-row.mins[block], scales + 32, channel);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t index = g * kStripeRows + channel;
      scales[layout.factors_at() + index] = static_cast<std::byte>(row.factors[block * groups + g]);
      if (!has_min(layout.form)) continue;
      scales[layout.min_factors_at() + index] =
          static_cast<std::byte>(row.min_factors[block * groups + g]);
    }
  }
}

void pack_integers(const PackedLayout& layout, const RowForm& form, const std::byte* stored,
                   const RowScratch& row, int64_t channel, std::byte* stripe) {
  form.decode_groups(stored, row.codes, row.scales, row.mins);
  for (int64_t k = 0; k < layout.columns; ++k) {
    put_code(layout, record_of(layout, stripe, k), k % layout.record_columns(), channel,
             row.codes[k] + code_offset(layout.form));
  }
  if (layout.scale == ScaleType::f32) {
    pack_row_scale(layout, row.scales[0], channel, stripe);
    return;
  }
  if (layout.scale == ScaleType::f16) {
    pack_scales(layout, row, channel, stripe);
    return;
  }
  form.format->decode_factors(stored, layout.columns,
                              {row.scales, row.factors, row.mins, row.min_factors});
  pack_factors(layout, row, channel, stripe);
}

// ---- mxfp4 ----

// A scale of 2^-127 is denormal and one of 2^128 is none: the same values with scales 2^-126 and
// 2^127. Where a half of a value is no code it is denormal, which counts as zero in every sum;
// where a double is none, both are infinite.
struct Mxfp4Group {
  uint8_t exponent;
  uint8_t codes[32];
};

Mxfp4Group ordinary_group(const uint8_t* codes, uint8_t exponent) {
  constexpr uint8_t kHalves[8] = {0, 0, 0, 0, 2, 3, 4, 5};
  constexpr uint8_t kDoubles[8] = {0, 2, 4, 5, 6, 7, 7, 7};
  Mxfp4Group group{exponent, {}};
  bool zeros = true;
  for (int k = 0; k < 32; ++k) {
    const auto sign = static_cast<uint8_t>(codes[k] & 8);
    auto magnitude = static_cast<uint8_t>(codes[k] & 7);
    if (exponent == 0) magnitude = kHalves[magnitude];
    if (exponent == 255) magnitude = kDoubles[magnitude];
    zeros = zeros && magnitude == 0;
    group.codes[k] = magnitude == 0 ? uint8_t{0} : static_cast<uint8_t>(sign | magnitude);
  }
  if (zeros) {
    group.exponent = 127;
  } else {
    group.exponent = std::clamp<uint8_t>(exponent, 1, 254);
  }
  return group;
}

void note_scale(float scale, bool first, std::byte* stripe) {
  Mxfp4Range range{scale, scale};
  if (!first) {
    std::memcpy(&range, stripe, sizeof(range));
    range.smallest = std::min(range.smallest, scale);
    range.largest = std::max(range.largest, scale);
  }
  std::memcpy(stripe, &range, sizeof(range));
}

// Returns whether some group of the stripe holds more than zeros; `noted`: whether one did before.
bool pack_mxfp4(const PackedLayout& layout, const std::byte* stored, const RowScratch& row,
                int64_t channel, bool noted, std::byte* stripe) {
  auto* codes = reinterpret_cast<uint8_t*>(row.codes);
  auto* exponents = reinterpret_cast<uint8_t*>(row.factors);
  unpack_mxfp4(stored, layout.columns, codes, exponents);
  for (int64_t g = 0; g < layout.columns / 32; ++g) {
    const Mxfp4Group group = ordinary_group(codes + 32 * g, exponents[g]);
    std::byte* record = record_of(layout, stripe, 32 * g);
    bool zeros = true;
    for (int64_t k = 0; k < 32; ++k) {
      zeros = zeros && group.codes[k] == 0;
      put_code(layout, record, 32 * (g % 2) + k, channel, group.codes[k]);
    }
    record[layout.code_bytes() + kStripeRows * (g % 2) + channel] =
        static_cast<std::byte>(group.exponent);
    if (zeros) continue;
    note_scale(std::bit_cast<float>(static_cast<uint32_t>(group.exponent) << 23), !noted, stripe);
    noted = true;
  }
  return noted;
}

}  // namespace

int64_t PackedLayout::record_bytes() const {
  if (form == PackedForm::f32) return 2048;
  if (scale == ScaleType::none) return 1024;
  if (scale == ScaleType::channel) return code_bytes();
  if (scale == ScaleType::f32) return code_bytes() + kStripeRows * int64_t{4};
  const int64_t parts = has_min(form) ? 2 : 1;
  if (scale == ScaleType::e8m0) return code_bytes() + kStripeRows * record_groups();
  if (scale == ScaleType::f16) return code_bytes() + mins_at() * parts;
  return aligned(code_bytes() + factors_at() + kStripeRows * record_groups() * parts);
}

int64_t pack_scratch_bytes(const PackedLayout& layout) {
  return RowScratch(layout, nullptr).bytes;
}

void pack_stripe(const PackedLayout& layout, const RowForm& form, const std::byte* rows,
                 int64_t count, std::byte* scratch, std::byte* stripe) noexcept {
  DUNLIN_CHECK(count >= 1 && count <= kStripeRows, "a stripe has 1 to 16 rows");
  std::memset(stripe, 0, static_cast<size_t>(layout.stripe_bytes()));
  const RowScratch row(layout, scratch);
  const int64_t stored_bytes = form.bytes();
  if (layout.form == PackedForm::mxfp4) note_scale(1.0f, true, stripe);
  bool noted = false;
  for (int64_t channel = 0; channel < count; ++channel) {
    const std::byte* stored = rows + channel * stored_bytes;
    if (layout.form == PackedForm::mxfp4) {
      noted = pack_mxfp4(layout, stored, row, channel, noted, stripe);
    } else if (layout.scale == ScaleType::none) {
      form.decode(stored, 1, row.values);
      pack_values(layout, row.values, channel, stripe);
    } else if (layout.form == PackedForm::wide) {
      form.decode(stored, 1, row.values);
      pack_wide(layout, row.values, channel, stripe);
    } else {
      pack_integers(layout, form, stored, row, channel, stripe);
    }
  }
}

}  // namespace dunlin

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

// ---- codes: four columns of a channel are one word of a line, a byte each ----

uint32_t load_word(const std::byte* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

void store_word(uint32_t word, std::byte* bytes) {
  std::memcpy(bytes, &word, sizeof(word));
}

// 32 columns of a channel, stored codes below 2^kBits, to their lines: those of all bits or of the
// low four, and those of the bits above. Word by word, as a code at a time takes ten times as long.
template <int kBits>
void put_codes(const std::byte* codes, std::byte* lines, std::byte* high_lines) {
  constexpr uint32_t kNibbles = 0x0f0f0f0f;
  constexpr int kHighBits = kBits - 4;
  for (int64_t four = 0; four < 8; four += kBits == 8 ? 1 : 2) {
    const uint32_t word = load_word(codes + 4 * four);
    if constexpr (kBits == 8) {
      store_word(word, lines + 64 * four);
      continue;
    }
    const uint32_t next = load_word(codes + 4 * four + 4);
    store_word((word & kNibbles) | (next & kNibbles) << 4, lines + 32 * four);
    if constexpr (kBits == 5 || kBits == 6) {
      constexpr int64_t kPerByte = 8 / kHighBits;  // codes in a byte of high bits; even
      const auto shift = static_cast<int>(kHighBits * (four % kPerByte));
      std::byte* const high = high_lines + 64 * (four / kPerByte);
      const uint32_t bits = (word >> 4 & kNibbles) | (next >> 4 & kNibbles) << kHighBits;
      store_word(load_word(high) | bits << shift, high);
    }
  }
}

// Columns k .. k + 31 of a record.
void put_codes(const PackedLayout& layout, const std::byte* codes, int64_t k, int64_t channel,
               std::byte* record) {
  const int bits = code_bits(layout.form);
  const int64_t low_bits = bits == 8 ? 8 : 4;
  std::byte* const lines = record + 2 * low_bits * k + 4 * channel;
  std::byte* const high =
      record + 2 * low_bits * layout.record_columns() + 2 * (bits - low_bits) * k + 4 * channel;
  switch (bits) {
    case 4:
      return put_codes<4>(codes, lines, high);
    case 5:
      return put_codes<5>(codes, lines, high);
    case 6:
      return put_codes<6>(codes, lines, high);
    default:
      return put_codes<8>(codes, lines, high);
  }
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

// Two columns to a line, the even one in the low half of the word.
template <typename Half>
void pack_halves(const float* values, int64_t columns, Half half, std::byte* line) {
  for (int64_t k = 0; k + 1 < columns; k += 2, line += 64)
    store_word(half(values[k]).bits | uint32_t{half(values[k + 1]).bits} << 16, line);
  if (columns % 2 != 0) store_word(half(values[columns - 1]).bits, line);
}

void pack_values(const PackedLayout& layout, const float* values, int64_t channel,
                 std::byte* stripe) {
  std::byte* line = stripe + 4 * channel;
  const int64_t columns = layout.columns;  // here, as bytes may alias the layout
  if (layout.form == PackedForm::bf16) {
    pack_halves(values, columns, [](float x) { return to_bfloat16(x); }, line);
  } else if (layout.form == PackedForm::f16) {
    pack_halves(values, columns, [](float x) { return to_float16(x); }, line);
  } else {
    for (int64_t k = 0; k < columns; ++k, line += 64) std::memcpy(line, values + k, 4);
  }
}

// One scale and the codes of a whole row: its records lie without a gap, four columns to a line.
void pack_wide(const PackedLayout& layout, const float* values, int64_t channel,
               std::byte* stripe) {
  const int64_t columns = layout.columns;  // here, as bytes may alias the layout
  const SymmetricCodes codes = SymmetricCodes::of(values, columns);
  std::memcpy(stripe + 4 * channel, &codes.scale, 4);
  std::byte* line = stripe + layout.records_at() + 4 * channel;
  for (int64_t first = 0; first < columns; first += 4, line += 64) {
    const int64_t count = std::min<int64_t>(4, columns - first);
    std::byte four[4] = {};
    for (int64_t k = 0; k < count; ++k) {
      const int code = codes.code(values[first + k]) + code_offset(PackedForm::wide);
      four[k] = static_cast<std::byte>(code);
    }
    std::memcpy(line, four, 4);
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
  const int64_t groups = layout.columns / layout.group;
  for (int64_t first = 0; first < groups; first += layout.record_groups()) {
    std::byte* const scales = record_of(layout, stripe, first * layout.group) + layout.code_bytes();
    const int64_t count = std::min(layout.record_groups(), groups - first);
    for (int64_t g = 0; g < count; ++g) {
      const int64_t index = g * kStripeRows + channel;
      put_float16(row.scales[first + g], scales, index);
      if (has_min(layout.form)) put_float16(row.mins[first + g], scales + layout.mins_at(), index);
    }
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

// The codes of a row, to which the offset is added.
void put_row(const PackedLayout& layout, std::byte* codes, int64_t channel, std::byte* stripe) {
  auto* const stored = reinterpret_cast<uint8_t*>(codes);
  const auto offset = static_cast<uint8_t>(code_offset(layout.form));
  const int64_t columns = layout.columns;  // here, as bytes may alias the layout
  for (int64_t k = 0; k < columns; ++k) stored[k] = static_cast<uint8_t>(stored[k] + offset);
  for (int64_t first = 0; first < columns; first += layout.record_columns()) {
    std::byte* const record = record_of(layout, stripe, first);
    const int64_t count = std::min(layout.record_columns(), columns - first);
    for (int64_t k = 0; k < count; k += 32)
      put_codes(layout, codes + first + k, k, channel, record);
  }
}

void pack_integers(const PackedLayout& layout, const RowForm& form, const std::byte* stored,
                   const RowScratch& row, int64_t channel, std::byte* stripe) {
  form.decode_groups(stored, row.codes, row.scales, row.mins);
  put_row(layout, reinterpret_cast<std::byte*>(row.codes), channel, stripe);
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
  bool zeros;
  uint8_t codes[32];
};

Mxfp4Group ordinary_group(const uint8_t* codes, uint8_t exponent) {
  constexpr uint8_t kHalves[8] = {0, 0, 0, 0, 2, 3, 4, 5};
  constexpr uint8_t kDoubles[8] = {0, 2, 4, 5, 6, 7, 7, 7};
  Mxfp4Group group;
  std::memcpy(group.codes, codes, sizeof(group.codes));
  if (exponent == 0 || exponent == 255) {
    const uint8_t* const magnitudes = exponent == 0 ? kHalves : kDoubles;
    for (uint8_t& code : group.codes)
      code = static_cast<uint8_t>((code & 8) | magnitudes[code & 7]);
  }
  uint8_t any = 0;
  for (uint8_t& code : group.codes) {
    code = (code & 7) == 0 ? uint8_t{0} : code;
    any = static_cast<uint8_t>(any | code);
  }
  group.zeros = any == 0;
  group.exponent = group.zeros ? uint8_t{127} : std::clamp<uint8_t>(exponent, 1, 254);
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
    put_codes(layout, reinterpret_cast<const std::byte*>(group.codes), 32 * (g % 2), channel,
              record);
    record[layout.code_bytes() + kStripeRows * (g % 2) + channel] =
        static_cast<std::byte>(group.exponent);
    if (group.zeros) continue;
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

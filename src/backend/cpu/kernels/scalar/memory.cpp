// Kernels that move or decode a few values and have one version for every instruction set: rows of
// packed matrices, KV writes, rope angles.
#include <bit>
#include <cstring>

#include "backend/cpu/kernels/symmetric_codes.h"
#include "backend/cpu/kernels/tables.h"
#include "base/float16.h"
#include "base/scalar_math.h"
#include "formats/mxfp4.h"

namespace dunlin {

namespace {

float float16_at(const std::byte* values, int64_t index) {
  float16 value;
  std::memcpy(&value, values + 2 * index, 2);
  return to_float(value);
}

struct GroupScale {
  float scale;
  float min;
};

// Of group `group` of a record; `scales` is its first byte behind the codes.
template <PackedForm F>
GroupScale scale_at(const PackedLayout& layout, const std::byte* scales, int64_t group,
                    int64_t channel) {
  const int64_t index = group * kStripeRows + channel;
  if (layout.scale == ScaleType::e8m0) {
    return {std::bit_cast<float>(static_cast<uint32_t>(scales[index]) << 23), 0.0f};
  }
  if (layout.scale == ScaleType::f16) {
    return {float16_at(scales, index),
            has_min(F) ? float16_at(scales + layout.mins_at(), index) : 0.0f};
  }
  if (layout.scale == ScaleType::f32) {
    float scale;
    std::memcpy(&scale, scales + 4 * channel, 4);
    return {scale, 0.0f};
  }
  const auto times = [&](float d, int64_t factors_at) {
    return d * static_cast<float>(static_cast<int8_t>(scales[factors_at + index]));
  };
  return {times(float16_at(scales, channel), layout.factors_at()),
          has_min(F) ? times(float16_at(scales + 32, channel), layout.min_factors_at()) : 0.0f};
}

template <PackedForm F>
float float_at(const std::byte* record, int64_t k, int64_t channel) {
  if constexpr (F == PackedForm::f32) {
    float value;
    std::memcpy(&value, record + 64 * k + 4 * channel, 4);
    return value;
  } else {
    uint16_t raw;
    std::memcpy(&raw, record + 64 * (k / 2) + 4 * channel + 2 * (k % 2), 2);
    return F == PackedForm::bf16 ? to_float(bfloat16{raw}) : to_float(float16{raw});
  }
}

// Stored code of column k of a record.
template <PackedForm F>
int32_t code_at(const PackedLayout& layout, const std::byte* record, int64_t k, int64_t channel) {
  const int64_t at = 4 * channel + k % 4;
  if constexpr (F == PackedForm::q8) return static_cast<int32_t>(record[64 * (k / 4) + at]);
  const int32_t byte = static_cast<int32_t>(record[64 * (k / 8) + at]);
  const int32_t low = k % 8 < 4 ? byte & 15 : byte >> 4;
  constexpr int kHigh = code_bits(F) - 4;
  if constexpr (kHigh <= 0) {
    return low;
  } else {
    const std::byte* high = record + 8 * layout.record_columns() + 64 * kHigh * (k / 32);
    const int64_t four = k % 32 / 4;
    const int32_t bits = static_cast<int32_t>(high[64 * (four / (8 / kHigh)) + at]) >>
                         (kHigh * (four % (8 / kHigh)));
    return low | (bits & ((1 << kHigh) - 1)) << 4;
  }
}

template <PackedForm F>
float value_at(const PackedLayout& layout, const std::byte* record, int64_t k, int64_t channel) {
  if constexpr (code_bits(F) == 0) {
    return float_at<F>(record, k, channel);
  } else {
    const GroupScale group =
        scale_at<F>(layout, record + layout.code_bytes(), k / layout.group, channel);
    const int32_t code = code_at<F>(layout, record, k, channel);
    if constexpr (F == PackedForm::mxfp4) return kFp4Values[code] * group.scale;
    const float value = group.scale * static_cast<float>(code - code_offset(F));
    return has_min(F) ? value + group.min : value;
  }
}

template <PackedForm F>
void decode_row(const PackedMatrix& weight, int64_t row, float scale, float* y) noexcept {
  const PackedLayout& layout = weight.layout;
  const std::byte* stripe = weight.data + row / kStripeRows * layout.stripe_bytes();
  const int64_t per_record = layout.record_columns();
  for (int64_t k = 0; k < layout.columns; ++k) {
    const std::byte* record = stripe + layout.records_at() + k / per_record * layout.record_bytes();
    const float value = value_at<F>(layout, record, k % per_record, row % kStripeRows);
    y[k] = scale == 1.0f ? value : value * scale;
  }
}

void rope_angles(int32_t position, const float* inv_freq, int64_t half, float scale,
                 float* angles) noexcept {
  for (int64_t i = 0; i < half; ++i) {
    const CosSin pair = cos_sin_f32(static_cast<float>(position) * inv_freq[i]);
    angles[2 * i] = scale == 1.0f ? pair.cos : pair.cos * scale;
    angles[2 * i + 1] = scale == 1.0f ? pair.sin : pair.sin * scale;
  }
}

template <KvType T>
void put(std::byte* at, float value) {
  if constexpr (T == KvType::f32) {
    std::memcpy(at, &value, 4);
  } else {
    const bfloat16 rounded = to_bfloat16(value);
    std::memcpy(at, &rounded, 2);
  }
}

template <KvType T>
void kv_write(const float* k, const float* v, int64_t head_dim, int64_t slot,
              std::byte* page) noexcept {
  for (int64_t d = 0; d < kv_key_dims(head_dim); ++d)
    put<T>(page + kv_key_at(T, slot, d), d < head_dim ? k[d] : 0.0f);
  std::byte* values = page + kv_value_offset(T, head_dim);
  for (int64_t d = 0; d < kv_value_dims(head_dim); ++d)
    put<T>(values + kv_value_at(T, slot, d), d < head_dim ? v[d] : 0.0f);
}

std::byte byte_of(int8_t code) {
  return static_cast<std::byte>(code);
}

void kv_write_int8(const float* k, const float* v, int64_t head_dim, int64_t slot,
                   std::byte* page) noexcept {
  const SymmetricCodes key = SymmetricCodes::of(k, head_dim);
  for (int64_t d = 0; d < kv_key_dims(head_dim); ++d)
    page[kv_key_at(KvType::int8, slot, d)] = byte_of(d < head_dim ? key.code(k[d]) : int8_t{0});
  std::memcpy(page + kv_key_scales_offset(head_dim) + 4 * slot, &key.scale, 4);
  const SymmetricCodes value = SymmetricCodes::of(v, head_dim);
  std::byte* values = page + kv_value_offset(KvType::int8, head_dim);
  for (int64_t d = 0; d < kv_value_dims(head_dim); ++d)
    values[kv_value_at(KvType::int8, slot, d)] =
        byte_of(d < head_dim ? value.code(v[d]) : int8_t{0});
  std::memcpy(page + kv_value_scales_offset(head_dim) + 4 * slot, &value.scale, 4);
}

}  // namespace

void add_memory_kernels(Kernels& table) {
#define DUNLIN_DECODE_ROW(form)                                             \
  table.decode_row[int(PackedForm::form)] = {"decode_row_" #form "_scalar", \
                                             decode_row<PackedForm::form>}
  DUNLIN_DECODE_ROW(f32);
  DUNLIN_DECODE_ROW(bf16);
  DUNLIN_DECODE_ROW(f16);
  DUNLIN_DECODE_ROW(q4);
  DUNLIN_DECODE_ROW(q4_min);
  DUNLIN_DECODE_ROW(q5);
  DUNLIN_DECODE_ROW(q5_min);
  DUNLIN_DECODE_ROW(q6);
  DUNLIN_DECODE_ROW(q8);
  DUNLIN_DECODE_ROW(mxfp4);
#undef DUNLIN_DECODE_ROW
  table.rope_angles = {"rope_angles_f32_scalar", rope_angles};
  table.kv_write[int(KvType::bf16)] = {"kv_write_bf16_scalar", kv_write<KvType::bf16>};
  table.kv_write[int(KvType::f32)] = {"kv_write_f32_scalar", kv_write<KvType::f32>};
  table.kv_write[int(KvType::int8)] = {"kv_write_int8_scalar", kv_write_int8};
}

}  // namespace dunlin

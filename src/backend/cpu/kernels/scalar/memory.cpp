// Kernels that move or decode a few values and have one version for every instruction set: rows of
// packed matrices, KV writes, rope angles.
#include <cstring>

#include "backend/cpu/kernels/tables.h"
#include "base/float16.h"
#include "base/scalar_math.h"

namespace dunlin {

namespace {

float scale_at(ScaleType type, const std::byte* scales, int64_t group, int64_t channel) {
  const int64_t index = group * kStripeRows + channel;
  if (type == ScaleType::f32) {
    float scale;
    std::memcpy(&scale, scales + 4 * index, 4);
    return scale;
  }
  float16 scale;
  std::memcpy(&scale, scales + 2 * index, 2);
  return to_float(scale);
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

// Code of column k (0..63) of a record, without the form's offset.
template <PackedForm F>
int32_t code_at(const std::byte* record, int64_t k, int64_t channel) {
  if constexpr (F == PackedForm::q8) {
    return static_cast<int32_t>(record[64 * (k / 4) + 4 * channel + k % 4]) - 128;
  } else {
    const int32_t byte = static_cast<int32_t>(record[64 * (k / 8) + 4 * channel + k % 4]);
    const int32_t code = k % 8 < 4 ? byte & 15 : byte >> 4;
    return F == PackedForm::q4 ? code - 8 : code;
  }
}

template <PackedForm F>
float value_at(const PackedLayout& layout, const std::byte* record, int64_t k, int64_t channel) {
  if constexpr (F == PackedForm::f32 || F == PackedForm::bf16 || F == PackedForm::f16) {
    return float_at<F>(record, k, channel);
  } else {
    const std::byte* scales = record + (F == PackedForm::q8 ? 1024 : 512);
    const int64_t group = k / layout.group;
    const float value = scale_at(layout.scale, scales, group, channel) *
                        static_cast<float>(code_at<F>(record, k, channel));
    if constexpr (F != PackedForm::q4_min) return value;
    return value + scale_at(layout.scale, scales + layout.scale_bytes(), group, channel);
  }
}

template <PackedForm F>
void decode_row(const PackedMatrix& weight, int64_t row, float scale, float* y) noexcept {
  const PackedLayout& layout = weight.layout;
  const std::byte* stripe = weight.data + row / kStripeRows * layout.stripe_bytes();
  const int64_t per_record = layout.record_columns();
  for (int64_t k = 0; k < layout.columns; ++k) {
    const std::byte* record = stripe + k / per_record * layout.record_bytes();
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
  constexpr int64_t kBytes = kv_element_bytes(T);
  constexpr int64_t kPack =
      4 / kBytes;  // dimensions (keys) or positions (values) that share four bytes
  for (int64_t d = 0; d < kv_key_dims(head_dim); ++d) {
    put<T>(page + 64 * (d / kPack) + 4 * slot + kBytes * (d % kPack), d < head_dim ? k[d] : 0.0f);
  }
  std::byte* values = page + kv_value_offset(T, head_dim);
  for (int64_t d = 0; d < kv_value_dims(head_dim); ++d) {
    std::byte* block = values + d / 16 * kPageTokens * 16 * kBytes;
    put<T>(block + 64 * (slot / kPack) + 4 * (d % 16) + kBytes * (slot % kPack),
           d < head_dim ? v[d] : 0.0f);
  }
}

}  // namespace

void add_memory_kernels(Kernels& table) {
  table.decode_row[int(PackedForm::f32)] = {"decode_row_f32_scalar", decode_row<PackedForm::f32>};
  table.decode_row[int(PackedForm::bf16)] = {"decode_row_bf16_scalar",
                                             decode_row<PackedForm::bf16>};
  table.decode_row[int(PackedForm::f16)] = {"decode_row_f16_scalar", decode_row<PackedForm::f16>};
  table.decode_row[int(PackedForm::q4)] = {"decode_row_q4_scalar", decode_row<PackedForm::q4>};
  table.decode_row[int(PackedForm::q4_min)] = {"decode_row_q4_min_scalar",
                                               decode_row<PackedForm::q4_min>};
  table.decode_row[int(PackedForm::q8)] = {"decode_row_q8_scalar", decode_row<PackedForm::q8>};
  table.rope_angles = {"rope_angles_f32_scalar", rope_angles};
  table.kv_write[int(KvType::bf16)] = {"kv_write_bf16_scalar", kv_write<KvType::bf16>};
  table.kv_write[int(KvType::f32)] = {"kv_write_f32_scalar", kv_write<KvType::f32>};
}

}  // namespace dunlin

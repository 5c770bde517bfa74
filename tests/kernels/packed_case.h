// Random weights of every packed form, their packed matrix, and the number formats that the packing
// is tested with: blocks of one group, stored as plain codes and float32 scales.
#pragma once

#include "kernel_case.h"

namespace dunlin {

template <int64_t Group, bool HasMin>
void decode_test_groups(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  for (int64_t g = 0; g < elements / Group; ++g, blocks += Group + 8) {
    std::memcpy(codes + g * Group, blocks, Group);
    std::memcpy(scales + g, blocks + Group, 4);
    if (HasMin) std::memcpy(mins + g, blocks + Group + 4, 4);
  }
}
inline void decode_test_floats(const std::byte* blocks, int64_t elements, float* values) {
  std::memcpy(values, blocks, static_cast<size_t>(elements) * 4);
}

struct WeightCase {
  const char* name;
  FormatTraits traits;
  bool exact_rows = false;
  PackedForm form;
  ScaleType scale;
};

// block_elements larger than the group marks a super-block format, whose scales need float32.
inline const std::vector<WeightCase>& weight_cases() {
  static const std::vector<WeightCase> cases = {
      {"f32",
       {Format::f32, "F32", 0, 1, 4, 0, 0, false, decode_test_floats, nullptr, nullptr},
       true,
       PackedForm::f32,
       ScaleType::none},
      {"bf16",
       {Format::bf16, "BF16", 0, 1, 4, 0, 0, false, decode_test_floats, nullptr, nullptr},
       true,
       PackedForm::bf16,
       ScaleType::none},
      {"f16_exact",
       {Format::f16, "F16", 0, 1, 4, 0, 0, false, decode_test_floats, nullptr, nullptr},
       true,
       PackedForm::f16,
       ScaleType::none},
      {"f16_rounded",
       {Format::f16, "F16", 0, 1, 4, 0, 0, false, decode_test_floats, nullptr, nullptr},
       false,
       PackedForm::bf16,
       ScaleType::none},
      {"q4_0",
       {Format::q4_0, "Q4_0", 0, 32, 40, 32, 4, false, nullptr, decode_test_groups<32, false>,
        nullptr},
       true,
       PackedForm::q4,
       ScaleType::f16},
      {"q4_1",
       {Format::q4_1, "Q4_1", 0, 32, 40, 32, 4, true, nullptr, decode_test_groups<32, true>,
        nullptr},
       true,
       PackedForm::q4_min,
       ScaleType::f16},
      {"q8_0",
       {Format::q8_0, "Q8_0", 0, 32, 40, 32, 8, false, nullptr, decode_test_groups<32, false>,
        nullptr},
       true,
       PackedForm::q8,
       ScaleType::f16},
      {"q4_k",
       {Format::q4_k, "Q4_K", 0, 64, 80, 32, 4, true, nullptr, decode_test_groups<32, true>,
        nullptr},
       true,
       PackedForm::q4_min,
       ScaleType::f32},
      {"q6_k",
       {Format::q6_k, "Q6_K", 0, 32, 48, 16, 8, false, nullptr, decode_test_groups<16, false>,
        nullptr},
       true,
       PackedForm::q8,
       ScaleType::f32},
  };
  return cases;
}

// Values that the format stores exactly, among them zero, denormal and large ones.
inline float storable(const WeightCase& weight, float x) {
  if (weight.traits.group == 0) {
    if (weight.traits.format == Format::f32) return x;
    return weight.traits.format == Format::bf16 ? reference::bf16(x) : to_float(to_float16(x));
  }
  return weight.scale == ScaleType::f16 ? to_float(to_float16(x)) : x;
}

inline reference::Matrix random_matrix(const WeightCase& weight, int64_t rows, int64_t columns,
                                       std::mt19937& random) {
  reference::Matrix matrix;
  matrix.rows = rows;
  matrix.columns = columns;
  matrix.group = weight.traits.group;
  matrix.has_min = weight.traits.has_min;
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::uniform_int_distribution<int> kind(0, 99);
  const auto value = [&] {
    const int k = kind(random);
    if (k == 0) return storable(weight, 0.0f);
    if (k == 1) return storable(weight, 3e-7f * normal(random));  // denormal as f16
    if (k == 2) return storable(weight, 4e4f * normal(random));
    return storable(weight, normal(random));
  };
  if (matrix.group == 0) {
    for (int64_t i = 0; i < rows * columns; ++i) matrix.values.push_back(value());
    return matrix;
  }
  const bool four = weight.traits.bits == 4;
  const bool six = weight.traits.format == Format::q6_k;
  const int low = four ? (matrix.has_min ? 0 : -8) : six ? -32 : -128;
  const int high = four ? (matrix.has_min ? 15 : 7) : six ? 31 : 127;
  std::uniform_int_distribution<int> code(low, high);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int k = kind(random);
    matrix.codes.push_back(static_cast<int8_t>(k < 5 ? low : k < 10 ? high : code(random)));
  }
  for (int64_t i = 0; i < rows * columns / matrix.group; ++i) {
    matrix.scales.push_back(value());
    matrix.mins.push_back(matrix.has_min ? value() : 0.0f);
  }
  return matrix;
}

// The matrix as the rows of its format.
inline std::vector<std::byte> stored_rows(const WeightCase& weight,
                                          const reference::Matrix& matrix) {
  std::vector<std::byte> bytes;
  const auto append = [&bytes](const void* from, size_t count) {
    const std::byte* p = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), p, p + count);
  };
  if (matrix.group == 0) {
    append(matrix.values.data(), matrix.values.size() * 4);
    return bytes;
  }
  for (size_t g = 0; g < matrix.scales.size(); ++g) {
    append(matrix.codes.data() + g * static_cast<size_t>(matrix.group),
           static_cast<size_t>(matrix.group));
    append(&matrix.scales[g], 4);
    append(&matrix.mins[g], 4);
  }
  EXPECT_EQ(static_cast<int64_t>(bytes.size()),
            matrix.rows * row_bytes(weight.traits, matrix.columns));
  return bytes;
}

struct PackedCase {
  PackedMatrix matrix;
  std::shared_ptr<AlignedMemory> memory;
};

inline PackedCase pack(const WeightCase& weight, const reference::Matrix& matrix) {
  const auto layout = packed_layout(weight.traits, matrix.rows, matrix.columns, weight.exact_rows);
  EXPECT_TRUE(layout.has_value());
  EXPECT_EQ(layout->form, weight.form);
  EXPECT_EQ(layout->scale, weight.scale);
  PackedCase packed;
  packed.memory = std::make_shared<AlignedMemory>(layout->bytes());
  packed.matrix = {*layout, packed.memory->get()};
  const std::vector<std::byte> rows = stored_rows(weight, matrix);
  const AlignedMemory scratch(pack_scratch_bytes(*layout));
  const int64_t stored = row_bytes(weight.traits, matrix.columns);
  for (int64_t stripe = 0; stripe < layout->stripes(); ++stripe) {
    const int64_t first = stripe * kStripeRows;
    pack_stripe(*layout, weight.traits, rows.data() + first * stored,
                std::min(kStripeRows, matrix.rows - first), scratch.get(),
                packed.memory->get() + stripe * layout->stripe_bytes());
  }
  return packed;
}

}  // namespace dunlin

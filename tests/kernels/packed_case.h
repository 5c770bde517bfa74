// Random weights of every packed form, their packed matrix, and the number formats that the packing
// is tested with: blocks of one group, stored as plain codes and float32 scales.
#pragma once

#include <stdexcept>

#include "kernel_case.h"

namespace dunlin {

// A block of one group: codes, then float32 scale and minimum.
template <int64_t Group, bool HasMin>
void decode_test_groups(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  for (int64_t g = 0; g < elements / Group; ++g, blocks += Group + 8) {
    std::memcpy(codes + g * Group, blocks, Group);
    std::memcpy(scales + g, blocks + Group, 4);
    if (HasMin) std::memcpy(mins + g, blocks + Group + 4, 4);
  }
}

// A super-block of 256: codes, factors, minimum factors, then float32 d and dmin.
inline constexpr int64_t kTestSuperBytes = 256 + 16 + 16 + 8;
template <int64_t Group, bool HasMin>
void decode_test_factors(const std::byte* blocks, int64_t elements, FactorArrays out) {
  constexpr int64_t kGroups = 256 / Group;
  for (int64_t i = 0; i < elements / 256; ++i, blocks += kTestSuperBytes) {
    std::memcpy(out.factors + i * kGroups, blocks + 256, kGroups);
    std::memcpy(out.d + i, blocks + 288, 4);
    if (!HasMin) continue;
    std::memcpy(out.min_factors + i * kGroups, blocks + 272, kGroups);
    std::memcpy(out.dmin + i, blocks + 292, 4);
  }
}
template <int64_t Group, bool HasMin>
void decode_test_super(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                       float* mins) {
  const int64_t super_blocks = elements / 256;
  const auto groups = static_cast<size_t>(elements / Group);
  std::vector<float> d(static_cast<size_t>(super_blocks)), dmin(d.size());
  std::vector<int8_t> factors(groups), min_factors(groups);
  decode_test_factors<Group, HasMin>(blocks, elements,
                                     {d.data(), factors.data(), dmin.data(), min_factors.data()});
  for (int64_t i = 0; i < super_blocks; ++i) {
    std::memcpy(codes + i * 256, blocks + i * kTestSuperBytes, 256);
  }
  for (size_t g = 0; g < groups; ++g) {
    const size_t block = g * static_cast<size_t>(Group) / 256;
    scales[g] = d[block] * static_cast<float>(factors[g]);
    if (HasMin) mins[g] = -(dmin[block] * static_cast<float>(min_factors[g]));
  }
}

// The values of either, by its own decode_groups.
using DecodeTestGroups = void(const std::byte*, int64_t, int8_t*, float*, float*);
template <int64_t Group, bool HasMin, DecodeTestGroups DecodeGroups>
void decode_test_integers(const std::byte* blocks, int64_t elements, float* values) {
  std::vector<int8_t> codes(static_cast<size_t>(elements));
  std::vector<float> scales(static_cast<size_t>(elements / Group)), mins(scales.size());
  DecodeGroups(blocks, elements, codes.data(), scales.data(), mins.data());
  for (size_t k = 0; k < codes.size(); ++k) {
    const size_t group = k / static_cast<size_t>(Group);
    const float product = scales[group] * static_cast<float>(codes[k]);
    values[k] = HasMin ? product + mins[group] : product;
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

inline FormatTraits test_floats(Format format, const char* name) {
  return {format, name, 0, 1, 4, 0, 0, false, decode_test_floats, nullptr, nullptr, nullptr};
}
template <bool HasMin>
FormatTraits test_blocks(Format format, const char* name, int bits) {
  return {format,
          name,
          0,
          32,
          40,
          32,
          bits,
          HasMin,
          decode_test_integers<32, HasMin, decode_test_groups<32, HasMin>>,
          decode_test_groups<32, HasMin>,
          nullptr,
          nullptr};
}
// One scale for a row, which every block of it repeats.
inline FormatTraits test_row_scaled(Format format, const char* name) {
  FormatTraits made = test_blocks<false>(format, name, 8);
  made.largest = 127.0f;
  return made;
}
template <int64_t Group, bool HasMin>
FormatTraits test_super(Format format, const char* name, int bits) {
  return {format,
          name,
          0,
          256,
          kTestSuperBytes,
          Group,
          bits,
          HasMin,
          decode_test_integers<Group, HasMin, decode_test_super<Group, HasMin>>,
          decode_test_super<Group, HasMin>,
          decode_test_factors<Group, HasMin>,
          nullptr};
}

// MXFP4, whose packing reads the elements themselves, is the real format.
inline const std::vector<WeightCase>& weight_cases() {
  static const std::vector<WeightCase> cases = {
      {"f32", test_floats(Format::f32, "F32"), true, PackedForm::f32, ScaleType::none},
      {"bf16", test_floats(Format::bf16, "BF16"), true, PackedForm::bf16, ScaleType::none},
      {"f16_exact", test_floats(Format::f16, "F16"), true, PackedForm::f16, ScaleType::none},
      {"f16_rounded", test_floats(Format::f16, "F16"), false, PackedForm::bf16, ScaleType::none},
      {"q4_0", test_blocks<false>(Format::q4_0, "Q4_0", 4), true, PackedForm::q4, ScaleType::f16},
      {"q4_1", test_blocks<true>(Format::q4_1, "Q4_1", 4), true, PackedForm::q4_min,
       ScaleType::f16},
      {"q5_0", test_blocks<false>(Format::q5_0, "Q5_0", 5), true, PackedForm::q5, ScaleType::f16},
      {"q5_1", test_blocks<true>(Format::q5_1, "Q5_1", 5), true, PackedForm::q5_min,
       ScaleType::f16},
      {"q8_0", test_blocks<false>(Format::q8_0, "Q8_0", 8), true, PackedForm::q8, ScaleType::f16},
      {"q2_k", test_super<16, true>(Format::q2_k, "Q2_K", 2), true, PackedForm::q4_min,
       ScaleType::factors},
      {"q3_k", test_super<16, false>(Format::q3_k, "Q3_K", 3), true, PackedForm::q4,
       ScaleType::factors},
      {"q4_k", test_super<32, true>(Format::q4_k, "Q4_K", 4), true, PackedForm::q4_min,
       ScaleType::factors},
      {"q5_k", test_super<32, true>(Format::q5_k, "Q5_K", 5), true, PackedForm::q5_min,
       ScaleType::factors},
      {"q6_k", test_super<16, false>(Format::q6_k, "Q6_K", 6), true, PackedForm::q6,
       ScaleType::factors},
      {"mxfp4", traits(Format::mxfp4), true, PackedForm::mxfp4, ScaleType::e8m0},
      {"i8", test_row_scaled(Format::i8, "I8"), true, PackedForm::q8, ScaleType::f32},
      {"wide_bf16", test_floats(Format::bf16, "BF16"), false, PackedForm::wide, ScaleType::channel},
      {"wide_q4_1", test_blocks<true>(Format::q4_1, "Q4_1", 4), false, PackedForm::wide,
       ScaleType::channel},
      {"wide_q6_k", test_super<16, false>(Format::q6_k, "Q6_K", 6), false, PackedForm::wide,
       ScaleType::channel},
      {"wide_mxfp4", traits(Format::mxfp4), false, PackedForm::wide, ScaleType::channel},
      {"wide_i8", test_row_scaled(Format::i8, "I8"), false, PackedForm::wide, ScaleType::channel},
  };
  return cases;
}
inline const WeightCase& weight_case(std::string_view name) {
  for (const WeightCase& weight : weight_cases()) {
    if (weight.name == name) return weight;
  }
  throw std::runtime_error("no weight case " + std::string(name));
}

// The numbers of the cases that are `wanted`.
template <typename Wanted>
std::vector<int> numbers_of_cases(Wanted wanted) {
  std::vector<int> numbers;
  for (size_t i = 0; i < weight_cases().size(); ++i) {
    if (wanted(weight_cases()[i])) numbers.push_back(static_cast<int>(i));
  }
  return numbers;
}

// Values that the format stores exactly, among them zero, denormal and large ones.
inline float storable(const WeightCase& weight, float x) {
  const Format format = weight.traits.format;
  if (format == Format::f32 || format == Format::i8) return x;
  return weight.traits.format == Format::bf16 ? reference::bf16(x) : to_float(to_float16(x));
}

struct RandomMatrix {
  reference::Matrix matrix;
  std::vector<std::byte> stored;  // as rows of the format
};

class MatrixMaker {
 public:
  MatrixMaker(const WeightCase& weight, int64_t rows, int64_t columns, std::mt19937& random)
      : weight_(weight), traits_(weight.traits), random_(random) {
    reference::Matrix& matrix = made_.matrix;
    matrix.rows = rows;
    matrix.columns = columns;
    matrix.group = traits_.group;
    matrix.code_group = traits_.code_group();
    matrix.has_min = traits_.has_min;
  }

  RandomMatrix make() {
    const int64_t elements = made_.matrix.rows * made_.matrix.columns;
    for (int64_t block = 0; block < elements / traits_.block_elements; ++block) {
      if (traits_.format == Format::mxfp4) {
        make_mxfp4(block * 32 / made_.matrix.columns);
      } else if (traits_.group == 0) {
        made_.matrix.values.push_back(value());
        append(&made_.matrix.values.back(), 4);
      } else {
        make_integers(block * traits_.block_elements % made_.matrix.columns == 0);
      }
    }
    return std::move(made_);
  }

 private:
  void append(const void* from, size_t count) {
    const auto* p = static_cast<const std::byte*>(from);
    made_.stored.insert(made_.stored.end(), p, p + count);
  }
  int kind() { return below(100); }
  int below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }

  float value() {
    std::normal_distribution<float> normal(0.0f, 0.05f);
    const int k = kind();
    if (k == 0) return storable(weight_, 0.0f);
    if (k == 1) return storable(weight_, 3e-7f * normal(random_));  // denormal as f16
    if (k == 2) return storable(weight_, 4e4f * normal(random_));
    return storable(weight_, normal(random_));
  }

  // All integers of `bits` bits, the ends more often.
  std::vector<int8_t> integers(int64_t count, int bits, bool is_signed) {
    const int low = is_signed ? -(1 << (bits - 1)) : 0;
    const int high = low + (1 << bits) - 1;
    std::uniform_int_distribution<int> any(low, high);
    std::vector<int8_t> made;
    for (int64_t i = 0; i < count; ++i) {
      const int k = kind();
      made.push_back(static_cast<int8_t>(k < 5 ? low : k < 10 ? high : any(random_)));
    }
    return made;
  }

  void make_integers(bool begins_row) {
    const std::vector<int8_t> codes =
        integers(traits_.block_elements, traits_.bits, !traits_.has_min);
    append(codes.data(), codes.size());
    if (traits_.decode_factors != nullptr) {
      const std::vector<int8_t> factors = integers(16, traits_.has_min ? 6 : 8, !traits_.has_min);
      const std::vector<int8_t> min_factors = integers(16, 6, false);
      append(factors.data(), 16);
      append(min_factors.data(), 16);
    }
    const bool same_as_before = traits_.largest > 0.0f && !begins_row;
    if (!same_as_before) scale_ = value();
    const float scales[2] = {scale_, value()};
    append(scales, 8);
    // What the format makes of it.
    reference::Matrix& matrix = made_.matrix;
    const auto groups = static_cast<size_t>(traits_.block_elements / traits_.group);
    matrix.codes.insert(matrix.codes.end(), codes.begin(), codes.end());
    matrix.scales.resize(matrix.scales.size() + groups);
    matrix.mins.resize(matrix.scales.size());
    std::vector<int8_t> same(codes.size());
    traits_.decode_groups(
        made_.stored.data() + made_.stored.size() - static_cast<size_t>(traits_.block_bytes),
        traits_.block_elements, same.data(), matrix.scales.data() + matrix.scales.size() - groups,
        matrix.mins.data() + matrix.mins.size() - groups);
  }

  // Any elements; ordinary exponents, but all of them that make finite values in the first rows.
  void make_mxfp4(int64_t row) {
    std::byte block[17];
    for (std::byte& byte : block) byte = static_cast<std::byte>(below(256));
    const int k = kind();
    int exponent = 110 + below(15);
    if (row < 16 && k < 30) exponent = below(k < 10 ? 4 : 200);
    if (k == 99) std::memset(block, 0, sizeof(block));
    block[0] = static_cast<std::byte>(exponent);
    append(block, sizeof(block));
    made_.matrix.values.resize(made_.matrix.values.size() + 32);
    traits_.decode(block, 32, made_.matrix.values.data() + made_.matrix.values.size() - 32);
    made_.matrix.codes.resize(made_.matrix.values.size());
    made_.matrix.scales.resize(made_.matrix.values.size() / 32);
    traits_.decode_groups(block, 32, made_.matrix.codes.data() + made_.matrix.codes.size() - 32,
                          &made_.matrix.scales.back(), nullptr);
  }

  const WeightCase& weight_;
  const FormatTraits& traits_;
  std::mt19937& random_;
  float scale_ = 0.0f;
  RandomMatrix made_;
};

inline RandomMatrix random_matrix(const WeightCase& weight, int64_t rows, int64_t columns,
                                  std::mt19937& random) {
  return MatrixMaker(weight, rows, columns, random).make();
}

struct PackedCase {
  PackedMatrix matrix;
  std::shared_ptr<AlignedMemory> memory;
};

inline PackedCase pack(const WeightCase& weight, const RandomMatrix& random) {
  const reference::Matrix& matrix = random.matrix;
  const auto layout =
      weight.form == PackedForm::wide
          ? std::optional(wide_layout(matrix.rows, matrix.columns))
          : packed_layout(weight.traits, matrix.rows, matrix.columns, weight.exact_rows);
  EXPECT_TRUE(layout.has_value());
  EXPECT_EQ(layout->form, weight.form);
  EXPECT_EQ(layout->scale, weight.scale);
  PackedCase packed;
  packed.memory = std::make_shared<AlignedMemory>(layout->bytes());
  packed.matrix = {*layout, packed.memory->get()};
  const AlignedMemory scratch(pack_scratch_bytes(*layout));
  const int64_t stored = row_bytes(weight.traits, matrix.columns);
  for (int64_t stripe = 0; stripe < layout->stripes(); ++stripe) {
    const int64_t first = stripe * kStripeRows;
    pack_stripe(*layout, {&weight.traits, matrix.columns}, random.stored.data() + first * stored,
                std::min(kStripeRows, matrix.rows - first), scratch.get(),
                packed.memory->get() + stripe * layout->stripe_bytes());
  }
  return packed;
}

}  // namespace dunlin

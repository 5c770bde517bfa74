// Packing: layouts, and every row decoded back.
#include "base/thread_pool.h"
#include "packed_case.h"

namespace dunlin {
namespace {

// By bits: comparisons take a denormal number for zero here.
bool is_denormal(float value) {
  const uint32_t magnitude = std::bit_cast<uint32_t>(value) & 0x7fffffffu;
  return magnitude != 0 && magnitude < 0x00800000u;
}

TEST(Packed, EveryRowDecodesBackExactly) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(1);
  for (const WeightCase& weight : weight_cases()) {
    if (!weight.exact_rows) continue;
    for (const int64_t columns : {32, 64, 96, 512, 576}) {
      if (columns % weight.traits.block_elements != 0) continue;
      const RandomMatrix made = random_matrix(weight, 21, columns, random);
      const reference::Matrix& matrix = made.matrix;
      const PackedCase packed = pack(weight, made);
      std::vector<float> y(static_cast<size_t>(columns));
      for (int64_t row = 0; row < matrix.rows; ++row) {
        for (const float scale : {1.0f, 3.7f}) {
          kernels(Isa::scalar)
              .decode_row[static_cast<int>(weight.form)]
              .run(packed.matrix, row, scale, y.data());
          std::vector<float> expected;
          for (int64_t k = 0; k < columns; ++k) {
            // Denormal weights, which mxfp4 has, are zero to every sum; of either sign.
            const float exact = matrix.value(row, k);
            const float zero =
                std::abs(y[static_cast<size_t>(k)]) == 0.0f ? y[static_cast<size_t>(k)] : 0.0f;
            const float value = is_denormal(exact) ? zero : exact;
            expected.push_back(scale == 1.0f ? value : value * scale);
          }
          ASSERT_TRUE(same_bits(y, expected)) << weight.name << " row " << row;
        }
      }
    }
  }
}

TEST(Packed, FloatColumnsNeedNotFillARecord) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(2);
  const WeightCase& weight = weight_case("bf16");
  const RandomMatrix made = random_matrix(weight, 3, 50, random);
  const PackedCase packed = pack(weight, made);
  EXPECT_EQ(packed.matrix.layout.bytes(), 2048);
  const std::vector<float> x = random_floats(50, random);
  for (const Isa isa : available_isas()) {
    const AlignedMemory activations(activation_bytes(Arithmetic::bf16, 1, 50));
    const AlignedMemory workspace(kLinearWorkspaceBytes);
    kernels(isa).prepare[int(Arithmetic::bf16)].run({x.data(), 50, 1, 50, 0, 1, activations.get()});
    std::vector<float> y(3);
    kernels(isa).linear[int(Arithmetic::bf16)][int(PackedForm::bf16)].run(
        {packed.matrix, 0, 1, activations.get(), 1, 0, 1, y.data(), 3, nullptr, nullptr,
         workspace.get()});
    std::vector<float> expected;
    for (int64_t row = 0; row < 3; ++row)
      expected.push_back(reference::linear_bf16(x.data(), made.matrix, row));
    EXPECT_TRUE(same_bits(y, expected)) << isa_name(isa);
  }
}

// Bytes of 16 rows of 256 columns, by hand.
TEST(Packed, SizesAreThoseOfTheFormats) {
  const std::pair<Format, int64_t> sizes[] = {{Format::f32, 16384},
                                              {Format::f16, 8192},
                                              {Format::bf16, 8192},
                                              {Format::q4_0, 2048 + 8 * 32},
                                              {Format::q4_1, 2048 + 8 * 64},
                                              {Format::q5_0, 2560 + 8 * 32},
                                              {Format::q5_1, 2560 + 8 * 64},
                                              {Format::q8_0, 4096 + 8 * 32},
                                              {Format::q2_k, 2048 + 64 + 16 * 32},
                                              {Format::q3_k, 2048 + 32 + 16 * 16 + 32},
                                              {Format::q4_k, 2048 + 64 + 8 * 32},
                                              {Format::q5_k, 2560 + 64 + 8 * 32},
                                              {Format::q6_k, 3072 + 32 + 16 * 16 + 32},
                                              {Format::mxfp4, 64 + 2048 + 8 * 16},
                                              {Format::i8, 4096 + 4 * 64},
                                              {Format::f8_e4m3, 16384},
                                              {Format::f8_e5m2, 16384}};
  ASSERT_EQ(std::size(sizes), all_formats().size());
  // A linear reads F8 as bf16.
  EXPECT_EQ(packed_layout(traits(Format::f8_e4m3), 16, 256, false)->bytes(), 8192);
  for (const auto& [format, bytes] : sizes) {
    EXPECT_EQ(packed_layout(traits(format), 16, 256, true)->bytes(), bytes) << traits(format).name;
  }
  EXPECT_EQ(wide_layout(16, 256).bytes(), 64 + 4096);
  EXPECT_EQ(wide_layout(17, 70).bytes(), 2 * (64 + 2048));
}

// A line of scales, then codes with an offset of 128; what fills up is zero bytes.
TEST(Packed, WideRowsAreCodesBehindTheirScales) {
  const WeightCase& weight = weight_case("wide_bf16");
  RandomMatrix made;
  made.matrix.rows = 4;
  made.matrix.columns = 70;
  std::vector<float>& values = made.matrix.values;
  values.assign(4 * 70, 0.0f);  // the second row stays so
  values[3] = 127.0f / 64.0f;
  values[4] = 2.5f / 64.0f;  // half way between two codes: the even one
  values[69] = -127.0f / 64.0f;
  values[2 * 70] = 0x1p-101f;  // below what has a scale
  values[3 * 70] = std::numeric_limits<float>::infinity();
  made.stored.resize(values.size() * 4);
  std::memcpy(made.stored.data(), values.data(), made.stored.size());
  const PackedCase packed = pack(weight, made);
  const std::byte* const stripe = packed.matrix.data;
  float scales[16];
  std::memcpy(scales, stripe, sizeof(scales));
  EXPECT_EQ(scales[0], 1.0f / 64.0f);
  EXPECT_EQ(scales[1], 0.0f);
  EXPECT_EQ(scales[2], 0.0f);
  EXPECT_TRUE(std::isnan(scales[3]));
  EXPECT_EQ(scales[4], 0.0f);
  const auto code = [stripe](int64_t row, int64_t k) {
    return static_cast<int>(stripe[64 + 1024 * (k / 64) + 64 * (k % 64 / 4) + 4 * row + k % 4]);
  };
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t k = 0; k < 70; ++k) {
      const int wanted = row > 0 ? 0 : k == 3 ? 127 : k == 4 ? 2 : k == 69 ? -127 : 0;
      EXPECT_EQ(code(row, k), 128 + wanted) << row << " " << k;
    }
    EXPECT_EQ(code(row, 70), 0);
  }
  EXPECT_EQ(code(4, 0), 0);
}

// Blocks of every number format with random codes and finite scales, against the format's own
// decoder.
TEST(Packed, EveryNumberFormatDecodesAsItsOwnDecoderSays) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(3);
  const int64_t columns = 512;
  const int64_t rows = 18;
  for (const FormatTraits& format : all_formats()) {
    const auto layout = packed_layout(format, rows, columns, true);
    ASSERT_TRUE(layout.has_value()) << format.name;
    const int64_t stored = row_bytes(format, columns);
    std::vector<std::byte> bytes(static_cast<size_t>(rows * stored));
    std::vector<float> values(static_cast<size_t>(columns));
    for (int64_t row = 0; row < rows; ++row) {
      // Any bits whose values are finite and not denormal.
      bool finite = false;
      while (!finite) {
        for (int64_t i = row * stored; i < (row + 1) * stored; ++i) {
          bytes[static_cast<size_t>(i)] = static_cast<std::byte>(random() & 0xbbu);
        }
        format.decode(bytes.data() + row * stored, columns, values.data());
        finite = std::all_of(values.begin(), values.end(),
                             [](float v) { return std::isfinite(v) && !is_denormal(v); });
      }
    }
    const AlignedMemory packed(layout->bytes());
    const AlignedMemory scratch(pack_scratch_bytes(*layout));
    for (int64_t stripe = 0; stripe < layout->stripes(); ++stripe) {
      const int64_t first = stripe * kStripeRows;
      pack_stripe(*layout, {&format, columns}, bytes.data() + first * stored,
                  std::min(kStripeRows, rows - first), scratch.get(),
                  packed.get() + stripe * layout->stripe_bytes());
    }
    std::vector<float> y(static_cast<size_t>(columns));
    for (int64_t row = 0; row < rows; ++row) {
      format.decode(bytes.data() + row * stored, columns, values.data());
      kernels(Isa::scalar)
          .decode_row[static_cast<int>(layout->form)]
          .run({*layout, packed.get()}, row, 1.0f, y.data());
      ASSERT_TRUE(same_bits(y, values)) << format.name << " row " << row;
    }
  }
}

// Scales beside the elements: of a row for I8, of blocks for F8, whose products are rounded to
// bf16.
TEST(Packed, ScalesBesideTheElementsAreThoseOfTheDecoder) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(4);
  constexpr int64_t kColumns = 288;
  constexpr int64_t kRows = 18;
  const std::pair<Format, int64_t> cases[] = {
      {Format::i8, kColumns}, {Format::f8_e4m3, 128}, {Format::f8_e5m2, kColumns}};
  for (const auto& [format, scale_columns] : cases) {
    for (const bool exact : {false, true}) {
      const RowForm form = {&traits(format), kColumns, scale_columns};
      const auto layout = packed_layout(traits(format), kRows, kColumns, exact);
      const std::vector<float> values = random_floats(kRows * kColumns, random);
      std::vector<std::byte> rows(static_cast<size_t>(kRows * form.bytes()));
      std::vector<float> scales(static_cast<size_t>(form.scales()));
      for (int64_t row = 0; row < kRows; ++row) {
        form.find_scales(values.data() + row * kColumns, 1, scales.data());
        form.encode(values.data() + row * kColumns, scales.data(),
                    rows.data() + row * form.bytes());
      }
      const AlignedMemory packed(layout->bytes());
      const AlignedMemory scratch(pack_scratch_bytes(*layout));
      for (int64_t stripe = 0; stripe < layout->stripes(); ++stripe) {
        const int64_t first = stripe * kStripeRows;
        pack_stripe(*layout, form, rows.data() + first * form.bytes(),
                    std::min(kStripeRows, kRows - first), scratch.get(),
                    packed.get() + stripe * layout->stripe_bytes());
      }
      std::vector<float> y(static_cast<size_t>(kColumns));
      std::vector<float> expected(static_cast<size_t>(kColumns));
      for (int64_t row = 0; row < kRows; ++row) {
        form.decode(rows.data() + row * form.bytes(), 1, expected.data());
        if (layout->form == PackedForm::bf16) {
          for (float& value : expected) value = reference::bf16(value);
        }
        kernels(Isa::scalar)
            .decode_row[static_cast<int>(layout->form)]
            .run({*layout, packed.get()}, row, 1.0f, y.data());
        ASSERT_TRUE(same_bits(y, expected)) << traits(format).name << " row " << row;
      }
    }
  }
}

TEST(Packed, RefusesFormatsWithoutAForm) {
  FormatTraits traits = weight_case("q4_0").traits;
  traits.group = 128;
  EXPECT_EQ(packed_layout(traits, 16, 128, true), std::nullopt);
  traits = weight_case("q8_0").traits;
  traits.has_min = true;
  EXPECT_EQ(packed_layout(traits, 16, 128, true), std::nullopt);
}

}  // namespace
}  // namespace dunlin

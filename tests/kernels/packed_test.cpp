// Packing: layouts, and every row decoded back.
#include "base/thread_pool.h"
#include "packed_case.h"

namespace dunlin {
namespace {

TEST(Packed, EveryRowDecodesBackExactly) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(1);
  for (const WeightCase& weight : weight_cases()) {
    if (!weight.exact_rows) continue;
    for (const int64_t columns : {32, 64, 96, 576}) {
      if (columns % weight.traits.block_elements != 0) continue;
      const reference::Matrix matrix = random_matrix(weight, 21, columns, random);
      const PackedCase packed = pack(weight, matrix);
      std::vector<float> y(static_cast<size_t>(columns));
      for (int64_t row = 0; row < matrix.rows; ++row) {
        for (const float scale : {1.0f, 3.7f}) {
          kernels(Isa::scalar)
              .decode_row[static_cast<int>(weight.form)]
              .run(packed.matrix, row, scale, y.data());
          std::vector<float> expected;
          for (int64_t k = 0; k < columns; ++k) {
            const float value = matrix.value(row, k);
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
  const WeightCase& weight = weight_cases()[1];
  const reference::Matrix matrix = random_matrix(weight, 3, 50, random);
  const PackedCase packed = pack(weight, matrix);
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
      expected.push_back(reference::linear_bf16(x.data(), matrix, row));
    EXPECT_TRUE(same_bits(y, expected)) << isa_name(isa);
  }
}

TEST(Packed, SizesAreThoseOfTheFormats) {
  const auto bytes = [](int index) {
    return packed_layout(weight_cases()[static_cast<size_t>(index)].traits, 16, 64, true)->bytes();
  };
  EXPECT_EQ(bytes(0), 16 * 64 * 4);
  EXPECT_EQ(bytes(1), 16 * 64 * 2);
  EXPECT_EQ(bytes(4), 576);
  EXPECT_EQ(bytes(5), 640);
  EXPECT_EQ(bytes(6), 1088);
  EXPECT_EQ(bytes(7), 512 + 2 * 128);
  EXPECT_EQ(bytes(8), 1024 + 256);
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
      // Any bits whose values are finite.
      bool finite = false;
      while (!finite) {
        for (int64_t i = row * stored; i < (row + 1) * stored; ++i) {
          bytes[static_cast<size_t>(i)] = static_cast<std::byte>(random() & 0xbbu);
        }
        format.decode(bytes.data() + row * stored, columns, values.data());
        finite =
            std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
      }
    }
    const AlignedMemory packed(layout->bytes());
    const AlignedMemory scratch(pack_scratch_bytes(*layout));
    for (int64_t stripe = 0; stripe < layout->stripes(); ++stripe) {
      const int64_t first = stripe * kStripeRows;
      pack_stripe(*layout, format, bytes.data() + first * stored,
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

TEST(Packed, RefusesFormatsWithoutAForm) {
  FormatTraits traits = weight_cases()[4].traits;
  traits.group = 128;
  EXPECT_EQ(packed_layout(traits, 16, 128, true), std::nullopt);
  traits = weight_cases()[6].traits;
  traits.has_min = true;
  EXPECT_EQ(packed_layout(traits, 16, 128, true), std::nullopt);
}

}  // namespace
}  // namespace dunlin

// What a packed weight is expanded to: the bits of its format's decoder, rounded to bf16.
#include <bit>
#include <cmath>
#include <limits>

#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "base/scalar_math.h"
#include "packed_case.h"

namespace dunlin::expansion {
namespace {
using namespace scalar;

// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

// Lanes of `step` mantissas each, of one exponent and sign, by both ways to round.
int64_t differently_rounded(uint32_t sign_and_exponent, uint32_t step) {
  int64_t different = 0;
  for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa += 16 * step) {
    float x[16];
    float simply[16];
    float fully[16];
    for (uint32_t lane = 0; lane < 16; ++lane) {
      const uint32_t low = std::min(mantissa + lane * step, (1u << 23) - 1);
      x[lane] = std::bit_cast<float>(sign_and_exponent | low);
    }
    store(simply, round_weight(load(x)));
    store(fully, round_bf16(load(x)));
    different += std::memcmp(simply, fully, sizeof(simply)) == 0 ? 0 : 1;
  }
  return different;
}

TEST(Expansion, WeightsAreRoundedAsAnyNumberIs) {
  for (const uint32_t sign : {0u, 1u << 31}) {
    EXPECT_EQ(differently_rounded(sign | 127u << 23, 1), 0);
    for (const uint32_t exponent : {27u, 103u, 130u, 226u})
      EXPECT_EQ(differently_rounded(sign | exponent << 23, 37), 0) << exponent;
    float zeros[16];
    store(zeros, round_weight(as_floats(broadcast_int(std::bit_cast<int32_t>(sign)))));
    EXPECT_EQ(std::bit_cast<uint32_t>(zeros[0]), sign);
  }
}

// A row of 64 columns for each scale, its other bytes random.
struct OddRows {
  RowForm form;
  std::vector<std::byte> bytes;

  template <typename Scale>
  OddRows(RowForm of, const std::vector<Scale>& scales)
      : form(of), bytes(scales.size() * static_cast<size_t>(of.bytes())) {
    std::mt19937 random(1);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    for (size_t row = 0; row < scales.size(); ++row)
      std::memcpy(&bytes[row * static_cast<size_t>(of.bytes())], &scales[row], sizeof(Scale));
  }

  int64_t rows() const { return std::ssize(bytes) / form.bytes(); }
};

// Every row's first block of 32 columns, as the kernels expand it.
template <PackedForm F>
void expect_decoded(const OddRows& odd) {
  const PackedLayout layout =
      packed_layout(*odd.form.format, odd.rows(), odd.form.columns, false).value();
  ASSERT_EQ(layout.form, F);
  const AlignedMemory scratch(pack_scratch_bytes(layout));
  const AlignedMemory stripe(layout.stripe_bytes() + kPrefetchBytes);
  pack_stripe(layout, odd.form, odd.bytes.data(), odd.rows(), scratch.get(), stripe.get());
  float expanded[32 * 16];
  expand_block<F, true>(Records<F>::of(layout), stripe.get(), 0, expanded, 16);
  std::vector<float> decoded(static_cast<size_t>(odd.rows() * odd.form.columns));
  odd.form.decode(odd.bytes.data(), odd.rows(), decoded.data());
  for (int64_t row = 0; row < odd.rows(); ++row) {
    for (int64_t k = 0; k < 32; ++k) {
      const float wanted =
          to_float(to_bfloat16(decoded[static_cast<size_t>(row * odd.form.columns + k)]));
      const float found = expanded[16 * k + row];
      if (std::isnan(wanted)) {
        EXPECT_TRUE(std::isnan(found)) << "row " << row << ", column " << k;
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(wanted))
            << "row " << row << ", column " << k;
      }
    }
  }
}

// One such row decides how all sixteen of its stripe are rounded.
TEST(Expansion, ScalesMayBeAnything) {
  const RowForm q4_0{&traits(Format::q4_0), 64};
  const uint16_t infinity = 0x7c00;
  const uint16_t not_a_number = 0x7e01;
  expect_decoded<PackedForm::q4>({q4_0, std::vector<uint16_t>{0x2c00, 0x0001, 0x8001, 0x7bff, 0}});
  expect_decoded<PackedForm::q4>({q4_0, std::vector<uint16_t>{0x2c00, infinity, 0xfc00}});
  expect_decoded<PackedForm::q4>({q4_0, std::vector<uint16_t>{0x2c00, not_a_number}});
  const RowForm q4_1{&traits(Format::q4_1), 64};
  const auto pair = [](uint32_t scale, uint32_t min) { return scale | min << 16; };
  expect_decoded<PackedForm::q4_min>(
      {q4_1, std::vector<uint32_t>{pair(0x2c00, 0xac00), pair(0x0001, 0x8003), pair(0, 0x2c00)}});
  expect_decoded<PackedForm::q4_min>(
      {q4_1, std::vector<uint32_t>{pair(0x2c00, infinity), pair(infinity, 0xfc00)}});
  const RowForm i8{&traits(Format::i8), 64, 64};
  expect_decoded<PackedForm::q8>({i8, std::vector<float>{0.01f, -3.0f, 0.0f, -0.0f}});
  expect_decoded<PackedForm::q8>({i8, std::vector<float>{0.01f, 1e-37f, 1e36f}});
  expect_decoded<PackedForm::q8>({i8, std::vector<float>{std::numeric_limits<float>::infinity()}});
}

}  // namespace
}  // namespace dunlin::expansion

// The AMX kernels over emulated tiles and plain lanes, so that their logic is tested bit for bit on
// any processor. Where the tiles exist, LinearTest runs the same kernels on them.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"
#include "base/thread_pool.h"
#include "linear_case.h"

namespace dunlin::amx {
namespace {
using namespace scalar;

// Tile instructions as Intel documents them (architecture instruction set extensions reference,
// TDPBF16PS): even and odd columns are two chains of fused multiply-adds from zero, their sum is
// added to the destination; denormals are zero.
struct EmulatedTiles {
  static inline float sums[4][16][16];
  static inline uint16_t rows[2][16][32];
  static inline uint16_t weights[2][16][16][2];
  static inline bool configured = false;

  static void configure() {
    configured = true;
    __builtin_memset(sums, 0xff, sizeof(sums));
    __builtin_memset(rows, 0xff, sizeof(rows));
    __builtin_memset(weights, 0xff, sizeof(weights));
  }
  static void release() { configured = false; }

  template <int Tile>
  static void* tile() {
    if constexpr (Tile < 4) return sums[Tile];
    if constexpr (Tile == 4 || Tile == 5) return rows[Tile - 4];
    if constexpr (Tile > 5) return weights[Tile - 6];
  }
  template <int Tile>
  static void zero() {
    __builtin_memset(tile<Tile>(), 0, 1024);
  }
  template <int Tile>
  static void load(const std::byte* p) {
    if (!configured) __builtin_trap();  // an undefined instruction on hardware
    __builtin_memcpy(tile<Tile>(), p, 1024);
  }
  template <int Tile>
  static void store(std::byte* p) {
    __builtin_memcpy(p, tile<Tile>(), 1024);
  }
  static float widen(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &word, 4);
    return value;
  }
  template <int Row, int Stripe>
  static void dot_bf16() {
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        float even = 0.0f;
        float odd = 0.0f;
        for (int k = 0; k < 16; ++k) {
          even = __builtin_fmaf(widen(rows[Row][m][2 * k]), widen(weights[Stripe][k][n][0]), even);
          odd =
              __builtin_fmaf(widen(rows[Row][m][2 * k + 1]), widen(weights[Stripe][k][n][1]), odd);
        }
        float& sum = sums[2 * Row + Stripe][m][n];
        sum = sum + (even + odd);
      }
    }
  }
};

// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

}  // namespace
}  // namespace dunlin::amx

namespace dunlin {
namespace {

LinearFunction* emulated(PackedForm form) {
  switch (form) {
    case PackedForm::bf16:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::bf16>;
    case PackedForm::f16:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::f16>;
    case PackedForm::q4:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q4>;
    case PackedForm::q4_min:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q4_min>;
    case PackedForm::q5:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q5>;
    case PackedForm::q5_min:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q5_min>;
    case PackedForm::q6:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q6>;
    case PackedForm::q8:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::q8>;
    case PackedForm::mxfp4:
      return amx::linear_tiles<amx::EmulatedTiles, PackedForm::mxfp4>;
    case PackedForm::f32:
      break;
  }
  return nullptr;
}

class EmulatedAmxTest : public LinearTest {};

TEST_P(EmulatedAmxTest, EqualsThePlainLoops) {
  const FlushToZero flush_to_zero;
  LinearFunction* linear = emulated(weight_->form);
  ASSERT_NE(linear, nullptr);
  const std::vector<float> sums = expected(Arithmetic::bf16);
  for (const int64_t rows : {16, 17, 32, 33}) {
    SCOPED_TRACE(rows);
    const std::vector<float> y = run(amx::prepare_tiles, linear, Arithmetic::bf16, {rows});
    ASSERT_TRUE(same_bits(y.data(), sums.data(), rows * channels_));
    const Run pieces{rows, nullptr, nullptr, 1, 16};
    ASSERT_TRUE(same_bits(run(amx::prepare_tiles, linear, Arithmetic::bf16, pieces), y));
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, EmulatedAmxTest,
                         testing::Combine(testing::Range(1,
                                                         static_cast<int>(weight_cases().size())),
                                          testing::Values(32, 64, 96, 576, 1536)),
                         linear_case_name);

}  // namespace
}  // namespace dunlin

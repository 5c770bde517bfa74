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
// TDPBF16PS and TDPBSSD): of bf16, even and odd columns are two chains of fused multiply-adds from
// zero, their sum is added to the destination, and denormals are zero; of bytes, exact sums of four
// products.
struct EmulatedTiles {
  static inline std::byte tiles[8][16][64];
  static inline int rows[8];
  static inline int bytes[8];  // of a row; 0: not configured, an undefined instruction on hardware

  static void configure(int activation_bytes, int weight_rows) {
    for (int tile = 0; tile < 8; ++tile) {
      rows[tile] = tile < 6 ? 16 : weight_rows;
      bytes[tile] = tile == 4 || tile == 5 ? activation_bytes : 64;
    }
    __builtin_memset(tiles, 0xff, sizeof(tiles));
  }
  static void configure_bf16() { configure(64, 16); }
  static void configure_int8(int64_t group) {
    configure(static_cast<int>(group), static_cast<int>(group / 4));
  }
  static void release() { __builtin_memset(bytes, 0, sizeof(bytes)); }

  template <int Tile>
  static void zero() {
    __builtin_memset(tiles[Tile], 0, sizeof(tiles[Tile]));
  }
  template <int Tile>
  static void load(const std::byte* p, int64_t stride = 64) {
    if (bytes[Tile] == 0) __builtin_trap();
    for (int row = 0; row < rows[Tile]; ++row) {
      __builtin_memcpy(tiles[Tile][row], p + row * stride, static_cast<size_t>(bytes[Tile]));
    }
  }
  template <int Tile>
  static void store(std::byte* p) {
    __builtin_memcpy(p, tiles[Tile], sizeof(tiles[Tile]));
  }
  template <typename T>
  static T& element(int tile, int row, int column) {
    return reinterpret_cast<T*>(tiles[tile][row])[column];
  }
  static float widen(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &word, 4);
    return value;
  }
  static float chain(int row_tile, int m, int weight_tile, int n, int parity) {
    float sum = 0.0f;
    for (int k = 0; k < 16; ++k) {
      const float x = widen(element<uint16_t>(row_tile, m, 2 * k + parity));
      sum = __builtin_fmaf(x, widen(element<uint16_t>(weight_tile, k, 2 * n + parity)), sum);
    }
    return sum;
  }
  template <int Row, int Stripe>
  static void dot_bf16() {
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        const float even = chain(4 + Row, m, 6 + Stripe, n, 0);
        const float odd = chain(4 + Row, m, 6 + Stripe, n, 1);
        float& sum = element<float>(2 * Row + Stripe, m, n);
        sum = sum + (even + odd);
      }
    }
  }
  template <int Sum>
  static void dot_int8() {
    constexpr int kRows = 4 + Sum % 2;
    constexpr int kWeights = 6 + Sum % 2;
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        int32_t& sum = element<int32_t>(Sum, m, n);
        for (int k = 0; k < bytes[kRows]; ++k) {
          sum += element<int8_t>(kRows, m, k) * element<int8_t>(kWeights, k / 4, 4 * n + k % 4);
        }
      }
    }
  }
};

// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

#include "backend/cpu/kernels/amx/int8.inl.h"

}  // namespace
}  // namespace dunlin::amx

namespace dunlin {
namespace {

LinearFunction* emulated_bf16(PackedForm form) {
  using amx::EmulatedTiles;
  switch (form) {
    case PackedForm::bf16:
      return amx::linear_tiles<EmulatedTiles, PackedForm::bf16>;
    case PackedForm::f16:
      return amx::linear_tiles<EmulatedTiles, PackedForm::f16>;
    case PackedForm::q4:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q4>;
    case PackedForm::q4_min:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q4_min>;
    case PackedForm::q5:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q5>;
    case PackedForm::q5_min:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q5_min>;
    case PackedForm::q6:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q6>;
    case PackedForm::q8:
      return amx::linear_tiles<EmulatedTiles, PackedForm::q8>;
    case PackedForm::mxfp4:
      return amx::linear_tiles<EmulatedTiles, PackedForm::mxfp4>;
    case PackedForm::f32:
      break;
  }
  return nullptr;
}

LinearFunction* emulated_int8(PackedForm form) {
  using amx::EmulatedTiles;
  switch (form) {
    case PackedForm::q4:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q4>;
    case PackedForm::q4_min:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q4_min>;
    case PackedForm::q5:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q5>;
    case PackedForm::q5_min:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q5_min>;
    case PackedForm::q6:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q6>;
    case PackedForm::q8:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::q8>;
    default:
      return nullptr;
  }
}

class EmulatedAmxTest : public LinearTest {
 protected:
  void expect_the_plain_loops(PrepareFunction* prepare, LinearFunction* linear,
                              Arithmetic arithmetic) const {
    const FlushToZero flush_to_zero;
    const std::vector<float> sums = expected(arithmetic);
    for (const int64_t rows : {16, 17, 32, 33}) {
      SCOPED_TRACE(rows);
      const std::vector<float> y = run(prepare, linear, arithmetic, {rows});
      ASSERT_TRUE(same_bits(y.data(), sums.data(), rows * channels_));
      const Run pieces{rows, nullptr, nullptr, 1, 16};
      ASSERT_TRUE(same_bits(run(prepare, linear, arithmetic, pieces), y));
    }
  }
};

TEST_P(EmulatedAmxTest, Bf16EqualsThePlainLoops) {
  LinearFunction* linear = emulated_bf16(weight_->form);
  ASSERT_NE(linear, nullptr);
  expect_the_plain_loops(amx::prepare_tiles, linear, Arithmetic::bf16);
}

TEST_P(EmulatedAmxTest, Int8EqualsThePlainLoops) {
  LinearFunction* linear = emulated_int8(weight_->form);
  ASSERT_EQ(linear != nullptr, is_integer(weight_->form));
  if (linear == nullptr) return;
  expect_the_plain_loops(amx::prepare_int8_tiles, linear, Arithmetic::int8);
}

INSTANTIATE_TEST_SUITE_P(Forms, EmulatedAmxTest,
                         testing::Combine(testing::Range(1,
                                                         static_cast<int>(weight_cases().size())),
                                          testing::Values(32, 64, 96, 576, 1536)),
                         linear_case_name);

}  // namespace
}  // namespace dunlin

// The AMX kernels over emulated tiles and plain lanes. Where the tiles exist, LinearTest and
// AttentionTest run the same kernels on them.
#include "attention_case.h"
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/scalar/simd.h"
#include "backend/cpu/kernels/tables.h"
#include "base/scalar_math.h"
#include "base/thread_pool.h"
#include "emulated_tiles.h"
#include "linear_case.h"

namespace dunlin::amx {
namespace {
using namespace scalar;

// In this order: each uses the names of those before.
#include "backend/cpu/kernels/vector/math.inl.h"

#include "backend/cpu/kernels/vector/records.inl.h"

#include "backend/cpu/kernels/vector/linear.inl.h"

#include "backend/cpu/kernels/vector/wide_rows.inl.h"

#include "backend/cpu/kernels/vector/quantise.inl.h"

#include "backend/cpu/kernels/vector/kv_lines.inl.h"

#include "backend/cpu/kernels/vector/attention.inl.h"

#include "backend/cpu/kernels/amx/linear.inl.h"

#include "backend/cpu/kernels/amx/int8.inl.h"

#include "backend/cpu/kernels/amx/kv_tiles.inl.h"

#include "backend/cpu/kernels/amx/attention.inl.h"

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
    case PackedForm::wide:
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
    case PackedForm::mxfp4:
      return amx::linear_int8_tiles<EmulatedTiles, PackedForm::mxfp4>;
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
      ASSERT_FALSE(amx::EmulatedTiles::configured()) << "not released";
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
  ASSERT_EQ(linear != nullptr, dot_bits(weight_->form) != 0);
  if (linear == nullptr) return;
  expect_the_plain_loops(amx::prepare_int8_tiles<16>, linear, Arithmetic::int8);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, EmulatedAmxTest,
    testing::Combine(testing::ValuesIn(numbers_of_cases([](const WeightCase& weight) {
                       return weight.form != PackedForm::f32 && weight.form != PackedForm::wide;
                     })),
                     testing::Values(32, 64, 96, 576, 1536)),
    linear_case_name);

class EmulatedAmxWideTest : public EmulatedAmxTest {};

TEST_P(EmulatedAmxWideTest, EqualsThePlainLoops) {
  expect_the_plain_loops(amx::prepare_wide_tiles<16>,
                         amx::linear_tiles<amx::EmulatedTiles, PackedForm::wide>,
                         Arithmetic::int8wide);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, EmulatedAmxWideTest,
    testing::Combine(testing::ValuesIn(numbers_of_cases([](const WeightCase& weight) {
                       return weight.form == PackedForm::wide;
                     })),
                     testing::Values(50, 64, 96, 576, 1500)),
    linear_case_name);

// More rows and stripes than a worker's memory holds at a time, and more columns than a chunk.
void expect_blocks_to_agree_with_single_rows(const WeightCase& weight, Arithmetic arithmetic,
                                             PrepareFunction* prepare_tiles,
                                             LinearFunction* linear_tiles) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(11);
  const int64_t columns = 544;
  const int64_t channels = 16 * (kTileStripeBlock + 1) + 3;
  const int64_t rows = kLinearRowBlock + 37;
  const PackedCase packed = pack(weight, random_matrix(weight, channels, columns, random));
  const std::vector<float> x = random_floats(rows * columns, random);
  const AlignedMemory workspace(kLinearWorkspaceBytes);
  const auto multiply = [&](PrepareFunction* prepare, LinearFunction* linear, const float* from,
                            int64_t count) {
    const AlignedMemory activations(activation_bytes(arithmetic, count, columns));
    prepare({from, columns, count, columns, 0, count, activations.get()});
    std::vector<float> y(static_cast<size_t>(count * channels));
    linear({packed.matrix, 0, packed.matrix.layout.stripes(), activations.get(), count, 0, count,
            y.data(), channels, nullptr, nullptr, workspace.get()});
    return y;
  };
  const std::vector<float> all = multiply(prepare_tiles, linear_tiles, x.data(), rows);
  const Kernels& table = kernels(Isa::scalar);
  const auto a = static_cast<size_t>(arithmetic);
  for (const int64_t row : {int64_t{0}, int64_t{40}, kLinearRowBlock, rows - 1}) {
    const std::vector<float> one =
        multiply(table.prepare[a].run, table.linear[a][static_cast<size_t>(weight.form)].run,
                 x.data() + row * columns, 1);
    EXPECT_TRUE(same_bits(all.data() + row * channels, one.data(), channels)) << row;
  }
}

TEST(EmulatedAmx, Int8BlocksOfRowsAndStripesAgreeWithSingleRows) {
  expect_blocks_to_agree_with_single_rows(
      weight_case("q4_0"), Arithmetic::int8, amx::prepare_int8_tiles<16>,
      amx::linear_int8_tiles<amx::EmulatedTiles, PackedForm::q4>);
}

TEST(EmulatedAmx, Bf16BlocksOfRowsAndStripesAgreeWithSingleRows) {
  expect_blocks_to_agree_with_single_rows(weight_case("q4_0"), Arithmetic::bf16, amx::prepare_tiles,
                                          amx::linear_tiles<amx::EmulatedTiles, PackedForm::q4>);
}

TEST(EmulatedAmx, WideBlocksOfRowsAndStripesAgreeWithSingleRows) {
  expect_blocks_to_agree_with_single_rows(weight_case("wide_bf16"), Arithmetic::int8wide,
                                          amx::prepare_wide_tiles<16>,
                                          amx::linear_tiles<amx::EmulatedTiles, PackedForm::wide>);
}

class EmulatedAmxAttentionTest : public AttentionTest {};

TEST_P(EmulatedAmxAttentionTest, EqualsThePlainLoops) {
  using amx::EmulatedTiles;
  const FlushToZero flush_to_zero;
  write_pages(kernels(Isa::scalar));
  const AlignedMemory workspace(attention_workspace_bytes(case_->type, case_->head_dim));
  const std::vector<float> wanted = comparable(expected());
  std::vector<float> y(wanted.size());
  AttentionFunction* run = amx::attention_tiles<EmulatedTiles, KvType::bf16>;
  if (case_->type == KvType::int8) run = amx::attention_tiles<EmulatedTiles, KvType::int8>;
  run(arguments(workspace.get()), y.data(), case_->group * case_->head_dim);
  EXPECT_TRUE(same_bits(comparable(y), wanted));
}

// Tiles are for pages in bf16 and int8.
std::vector<int> cases_on_tiles() {
  std::vector<int> numbers;
  for (size_t i = 0; i < attention_cases().size(); ++i) {
    if (attention_cases()[i].type != KvType::f32) numbers.push_back(static_cast<int>(i));
  }
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(Cases, EmulatedAmxAttentionTest, testing::ValuesIn(cases_on_tiles()),
                         attention_case_name);

}  // namespace
}  // namespace dunlin

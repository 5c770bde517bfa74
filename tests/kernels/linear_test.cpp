// linear: every arithmetic x packed form x instruction set against the plain loops, bit for bit,
// whatever the number of rows and the split over threads.
#include "base/thread_pool.h"
#include "linear_case.h"

namespace dunlin {
namespace {

constexpr Arithmetic kAllArithmetics[] = {Arithmetic::f32, Arithmetic::bf16, Arithmetic::int8,
                                          Arithmetic::int8wide};

TEST_P(LinearTest, EqualsThePlainLoopsOnEveryInstructionSet) {
  const FlushToZero flush_to_zero;
  for (const Arithmetic arithmetic : kAllArithmetics) {
    const auto& entry =
        kernels(Isa::scalar).linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)];
    if (entry.run == nullptr) continue;
    // Packing F16 as bf16 is for the bf16 arithmetic alone.
    if (weight_->traits.format == Format::f16 && !weight_->exact_rows &&
        arithmetic != Arithmetic::bf16)
      continue;
    const std::vector<float> sums = expected(arithmetic);
    for (const Isa isa : available_isas()) {
      const Kernels& table = kernels(isa);
      for (const int64_t rows : kRowCounts) {
        SCOPED_TRACE(
            std::string(
                table.linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)].name) +
            " rows " + std::to_string(rows));
        const std::vector<float> y = run(table, arithmetic, {rows});
        ASSERT_TRUE(same_bits(y.data(), sums.data(), rows * channels_));
      }
    }
  }
}

TEST_P(LinearTest, BiasAndResidualAreAddedInOrderAndSplitsChangeNothing) {
  const FlushToZero flush_to_zero;
  for (const Arithmetic arithmetic : kAllArithmetics) {
    const auto& entry =
        kernels(Isa::scalar).linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)];
    if (entry.run == nullptr) continue;
    for (const Isa isa : available_isas()) {
      const Kernels& table = kernels(isa);
      SCOPED_TRACE(
          table.linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)].name);
      const std::vector<float> sums = run(table, arithmetic, {kMostRows});
      std::vector<float> with_bias = sums;
      std::vector<float> with_both = sums;
      for (size_t i = 0; i < sums.size(); ++i) {
        with_bias[i] = sums[i] + bias_[i % static_cast<size_t>(channels_)];
        with_both[i] = residual_[i] + with_bias[i];
      }
      EXPECT_TRUE(same_bits(run(table, arithmetic, {kMostRows, bias_.data()}), with_bias));
      const Run pieces{kMostRows, bias_.data(), residual_.data(), 1, 16};
      EXPECT_TRUE(same_bits(run(table, arithmetic, pieces), with_both));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, LinearTest,
                         testing::Combine(testing::Range(0,
                                                         static_cast<int>(weight_cases().size())),
                                          testing::Values(32, 64, 96, 576, 1536)),
                         linear_case_name);

TEST(Linear, RowsBeyondOneBlockAndManyStripesAgreeWithSingleRows) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(7);
  const int64_t columns = 320;
  const int64_t channels = 16 * 11 + 3;  // more than one block of stripes
  const int64_t rows = kLinearRowBlock + 37;
  const std::vector<float> x = random_floats(rows * columns, random);
  const AlignedMemory workspace(kLinearWorkspaceBytes);
  for (const auto& [name, arithmetic] :
       {std::pair("q4_0", Arithmetic::bf16), std::pair("q4_0", Arithmetic::int8),
        std::pair("wide_bf16", Arithmetic::int8wide)}) {
    const WeightCase& weight = weight_case(name);
    const PackedCase packed = pack(weight, random_matrix(weight, channels, columns, random));
    for (const Isa isa : available_isas()) {
      if (isa == Isa::scalar) continue;  // slow, and the same code
      const Kernels& table = kernels(isa);
      const auto multiply = [&](const float* from, int64_t count) {
        const auto a = static_cast<size_t>(arithmetic);
        const AlignedMemory activations(activation_bytes(arithmetic, count, columns));
        table.prepare[a].run({from, columns, count, columns, 0, count, activations.get()});
        std::vector<float> y(static_cast<size_t>(count * channels));
        table.linear[a][static_cast<size_t>(weight.form)].run(
            {packed.matrix, 0, packed.matrix.layout.stripes(), activations.get(), count, 0, count,
             y.data(), channels, nullptr, nullptr, workspace.get()});
        return y;
      };
      const std::vector<float> all = multiply(x.data(), rows);
      for (const int64_t row :
           {int64_t{0}, int64_t{5}, kLinearRowBlock - 1, kLinearRowBlock, rows - 1}) {
        const std::vector<float> one = multiply(x.data() + row * columns, 1);
        EXPECT_TRUE(same_bits(all.data() + row * channels, one.data(), channels))
            << name << " " << isa_name(isa) << " row " << row;
      }
    }
  }
}

// `rows` rows of x times a matrix in the int8wide arithmetic.
std::vector<float> wide_sums(Isa isa, const PackedMatrix& matrix, const std::vector<float>& x,
                             int64_t rows) {
  constexpr auto kWide = static_cast<size_t>(Arithmetic::int8wide);
  const PackedLayout& layout = matrix.layout;
  const AlignedMemory activations(activation_bytes(Arithmetic::int8wide, rows, layout.columns));
  const AlignedMemory workspace(kLinearWorkspaceBytes);
  kernels(isa).prepare[kWide].run(
      {x.data(), layout.columns, rows, layout.columns, 0, rows, activations.get()});
  std::vector<float> y(static_cast<size_t>(rows * layout.rows));
  kernels(isa).linear[kWide][static_cast<size_t>(PackedForm::wide)].run(
      {matrix, 0, layout.stripes(), activations.get(), rows, 0, rows, y.data(), layout.rows,
       nullptr, nullptr, workspace.get()});
  return y;
}

TEST(Linear, WideColumnsNeedNotFillARecord) {
  const FlushToZero flush_to_zero;
  std::mt19937 random(5);
  const WeightCase& weight = weight_case("wide_bf16");
  for (const int64_t columns : {1, 15, 50, 63, 65, 130}) {
    const RandomMatrix made = random_matrix(weight, 3, columns, random);
    const PackedCase packed = pack(weight, made);
    const std::vector<float> x = random_floats(20 * columns, random);
    for (const int64_t rows : {1, 2, 20}) {
      std::vector<float> expected;
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t channel = 0; channel < 3; ++channel) {
          expected.push_back(
              reference::linear_int8wide(x.data() + columns * row, made.matrix, channel));
        }
      }
      for (const Isa isa : available_isas()) {
        EXPECT_TRUE(same_bits(wide_sums(isa, packed.matrix, x, rows), expected))
            << isa_name(isa) << " columns " << columns << " rows " << rows;
      }
    }
  }
}

// Every code is 127 or -127: two products do not fit in 15 bits once a code has its offset, and sums
// of as many columns as there may be do not fit in 32 before it is taken off.
TEST(Linear, WideSumsOfLargestCodesAreExact) {
  const FlushToZero flush_to_zero;
  constexpr int64_t kColumns = kMostWideColumns;
  constexpr int64_t kRows = 17;
  RandomMatrix made;
  made.matrix.rows = 3;
  made.matrix.columns = kColumns;
  for (int64_t i = 0; i < 3 * kColumns; ++i) {
    const bool positive = i < kColumns || (i >= 2 * kColumns && i % 3 != 0);
    made.matrix.values.push_back(positive ? 1.0f : -1.0f);
  }
  made.stored.resize(made.matrix.values.size() * 4);
  std::memcpy(made.stored.data(), made.matrix.values.data(), made.stored.size());
  const PackedCase packed = pack(weight_case("wide_bf16"), made);
  std::vector<float> x;
  std::vector<float> all_expected;
  for (int64_t row = 0; row < kRows; ++row) {
    const float sign = row % 2 == 0 ? 1.0f : -1.0f;
    x.insert(x.end(), static_cast<size_t>(kColumns), sign);
    for (int64_t channel = 0; channel < 3; ++channel) {
      all_expected.push_back(
          row < 2 ? reference::linear_int8wide(x.data() + row * kColumns, made.matrix, channel)
                  : all_expected[static_cast<size_t>(3 * (row % 2) + channel)]);
    }
  }
  for (const Isa isa : available_isas()) {
    for (const int64_t rows : {int64_t{1}, int64_t{2}, kRows}) {
      const std::vector<float> expected(all_expected.begin(), all_expected.begin() + 3 * rows);
      EXPECT_TRUE(same_bits(wide_sums(isa, packed.matrix, x, rows), expected))
          << isa_name(isa) << " rows " << rows;
    }
  }
}

TEST(Linear, EveryEntryOfTheTableHasAName) {
  for (int i = 0; i < kIsas; ++i) {
    const Kernels& table = kernels(static_cast<Isa>(i));
    EXPECT_EQ(static_cast<int>(table.isa), i);
    for (const auto& row : table.linear) {
      for (const auto& entry : row) EXPECT_EQ(entry.name == nullptr, entry.run == nullptr);
    }
  }
#if defined(__aarch64__)
  const Kernels& table = kernels(Isa::i8mm);
  EXPECT_STREQ(table.linear[int(Arithmetic::int8)][int(PackedForm::q4_min)].name,
               "linear_int8_q4_min_i8mm");
  // What a set does not bring is that of the one below.
  EXPECT_STREQ(table.linear[int(Arithmetic::bf16)][int(PackedForm::q4_min)].name,
               "linear_bf16_q4_min_neon");
#else
  const Kernels& table = kernels(Isa::avx512);
  EXPECT_STREQ(table.linear[int(Arithmetic::int8)][int(PackedForm::q4_min)].name,
               "linear_int8_q4_min_avx512");
#endif
  EXPECT_EQ(table.linear[int(Arithmetic::int8)][int(PackedForm::bf16)].run, nullptr);
  EXPECT_EQ(table.linear[int(Arithmetic::int8)][int(PackedForm::wide)].run, nullptr);
  EXPECT_EQ(table.linear[int(Arithmetic::int8wide)][int(PackedForm::q8)].run, nullptr);
}

}  // namespace
}  // namespace dunlin

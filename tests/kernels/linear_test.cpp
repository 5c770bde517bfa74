// linear: every arithmetic x packed form x instruction set against the plain loops, bit for bit,
// whatever the number of rows and the split over threads.
#include "base/thread_pool.h"
#include "packed_case.h"

namespace dunlin {
namespace {

constexpr int64_t kRowCounts[] = {1, 2, 7, 16, 33};
constexpr int64_t kMostRows = 33;

// Rows of every kind: ordinary, zero, denormal, below the int8 threshold, large.
std::vector<float> random_rows(int64_t columns, std::mt19937& random) {
  std::vector<float> x = random_floats(kMostRows * columns, random);
  const auto scale_row = [&](int64_t row, float scale) {
    for (int64_t k = 0; k < columns; ++k) x[static_cast<size_t>(row * columns + k)] *= scale;
  };
  scale_row(1, 0.0f);
  scale_row(3, 1e-39f);
  scale_row(4, 0x1p-103f);
  scale_row(5, 1e12f);
  for (int64_t k = 0; k < columns; k += 3) x[static_cast<size_t>(6 * columns + k)] *= 1e-20f;
  return x;
}

class LinearTest : public testing::TestWithParam<std::tuple<int, int64_t>> {
 protected:
  void SetUp() override {
    weight_ = &weight_cases()[static_cast<size_t>(std::get<0>(GetParam()))];
    const int64_t block = weight_->traits.block_elements;
    columns_ = (std::get<1>(GetParam()) + block - 1) / block * block;
    std::mt19937 random(static_cast<uint32_t>(columns_));
    matrix_ = random_matrix(*weight_, channels_, columns_, random);
    packed_ = pack(*weight_, matrix_);
    x_ = random_rows(columns_, random);
    bias_ = random_floats(channels_, random);
    residual_ = random_floats(kMostRows * channels_, random);
  }

  std::vector<float> expected(Arithmetic arithmetic) const {
    std::vector<float> y;
    for (int64_t row = 0; row < kMostRows; ++row) {
      const float* x = x_.data() + row * columns_;
      const auto quantised =
          matrix_.group == 0 ? reference::QuantisedRow() : reference::quantise(x, columns_);
      for (int64_t channel = 0; channel < channels_; ++channel) {
        y.push_back(arithmetic == Arithmetic::f32 ? reference::linear_f32(x, matrix_, channel)
                    : arithmetic == Arithmetic::bf16
                        ? reference::linear_bf16(x, matrix_, channel)
                        : reference::linear_int8(quantised, matrix_, channel));
      }
    }
    return y;
  }

  struct Run {
    int64_t rows;
    const float* bias = nullptr;
    const float* residual = nullptr;
    int64_t stripe_step = 1 << 20;
    int64_t row_step = 1 << 20;
  };

  std::vector<float> run(const Kernels& table, Arithmetic arithmetic, const Run& run) const {
    const AlignedMemory activations(activation_bytes(arithmetic, run.rows, columns_));
    const PrepareFunction* prepare = table.prepare[static_cast<int>(arithmetic)].run;
    const int64_t cut = run.rows / 2;  // rows in any order
    prepare({x_.data(), columns_, run.rows, columns_, cut, run.rows, activations.get()});
    prepare({x_.data(), columns_, run.rows, columns_, 0, cut, activations.get()});
    const AlignedMemory workspace(kLinearWorkspaceBytes);
    std::vector<float> y(static_cast<size_t>(run.rows * channels_), -1.0f);
    const int64_t stripes = packed_.matrix.layout.stripes();
    for (int64_t row = 0; row < run.rows; row += run.row_step) {
      for (int64_t stripe = 0; stripe < stripes; stripe += run.stripe_step) {
        LinearArgs args{};
        args.weight = packed_.matrix;
        args.stripe_begin = stripe;
        args.stripe_end = std::min(stripes, stripe + run.stripe_step);
        args.activations = activations.get();
        args.rows = run.rows;
        args.row_begin = row;
        args.row_end = std::min(run.rows, row + run.row_step);
        args.y = y.data();
        args.y_stride = channels_;
        args.bias = run.bias;
        args.residual = run.residual;
        args.workspace = workspace.get();
        table.linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)].run(args);
      }
    }
    return y;
  }

  const WeightCase* weight_ = nullptr;
  int64_t columns_ = 0;
  int64_t channels_ = 37;  // two whole stripes and a part of one
  reference::Matrix matrix_;
  PackedCase packed_;
  std::vector<float> x_;
  std::vector<float> bias_;
  std::vector<float> residual_;
};

TEST_P(LinearTest, EqualsThePlainLoopsOnEveryInstructionSet) {
  const FlushToZero flush_to_zero;
  for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::bf16, Arithmetic::int8}) {
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
  for (const Arithmetic arithmetic : {Arithmetic::f32, Arithmetic::bf16, Arithmetic::int8}) {
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

std::string case_name(const testing::TestParamInfo<std::tuple<int, int64_t>>& info) {
  return std::string(weight_cases()[static_cast<size_t>(std::get<0>(info.param))].name) + "_" +
         std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Forms, LinearTest,
                         testing::Combine(testing::Range(0, 9),
                                          testing::Values(32, 64, 96, 576, 1536)),
                         case_name);

TEST(Linear, RowsBeyondOneBlockAndManyStripesAgreeWithSingleRows) {
  const FlushToZero flush_to_zero;
  const WeightCase& weight = weight_cases()[4];
  std::mt19937 random(7);
  const int64_t columns = 320;
  const int64_t channels = 16 * 11 + 3;  // more than one block of stripes
  const int64_t rows = kLinearRowBlock + 37;
  const reference::Matrix matrix = random_matrix(weight, channels, columns, random);
  const PackedCase packed = pack(weight, matrix);
  const std::vector<float> x = random_floats(rows * columns, random);
  const AlignedMemory workspace(kLinearWorkspaceBytes);
  for (const Isa isa : available_isas()) {
    if (isa == Isa::scalar) continue;  // slow, and the same code
    const Kernels& table = kernels(isa);
    const auto multiply = [&](const float* from, int64_t count) {
      const AlignedMemory activations(activation_bytes(Arithmetic::bf16, count, columns));
      table.prepare[int(Arithmetic::bf16)].run(
          {from, columns, count, columns, 0, count, activations.get()});
      std::vector<float> y(static_cast<size_t>(count * channels));
      table.linear[int(Arithmetic::bf16)][int(PackedForm::q4)].run(
          {packed.matrix, 0, packed.matrix.layout.stripes(), activations.get(), count, 0, count,
           y.data(), channels, nullptr, nullptr, workspace.get()});
      return y;
    };
    const std::vector<float> all = multiply(x.data(), rows);
    for (const int64_t row :
         {int64_t{0}, int64_t{5}, kLinearRowBlock - 1, kLinearRowBlock, rows - 1}) {
      const std::vector<float> one = multiply(x.data() + row * columns, 1);
      EXPECT_TRUE(same_bits(all.data() + row * channels, one.data(), channels))
          << isa_name(isa) << " row " << row;
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
  EXPECT_STREQ(kernels(Isa::avx512).linear[int(Arithmetic::int8)][int(PackedForm::q4_min)].name,
               "linear_int8_q4_min_avx512");
  EXPECT_EQ(kernels(Isa::avx512).linear[int(Arithmetic::int8)][int(PackedForm::bf16)].run, nullptr);
}

}  // namespace
}  // namespace dunlin

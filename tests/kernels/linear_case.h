// The cases of `linear`: a matrix of a packed form, rows of every kind, the expected sums and a way
// to run any pair of kernels on them.
#pragma once

#include "packed_case.h"

namespace dunlin {

inline constexpr int64_t kRowCounts[] = {1, 2, 7, 16, 33};
inline constexpr int64_t kMostRows = 33;

// Rows of every kind: ordinary, zero, denormal, below the int8 threshold, large.
inline std::vector<float> random_rows(int64_t columns, std::mt19937& random) {
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
    const RandomMatrix made = random_matrix(*weight_, channels_, columns_, random);
    matrix_ = made.matrix;
    packed_ = pack(*weight_, made);
    x_ = random_rows(columns_, random);
    bias_ = random_floats(channels_, random);
    residual_ = random_floats(kMostRows * channels_, random);
  }

  std::vector<float> expected(Arithmetic arithmetic) const {
    std::vector<float> y;
    for (int64_t row = 0; row < kMostRows; ++row) {
      const float* x = x_.data() + row * columns_;
      const auto quantised =
          matrix_.code_group == 0 ? reference::QuantisedRow() : reference::quantise(x, columns_);
      for (int64_t channel = 0; channel < channels_; ++channel)
        y.push_back(expected_sum(arithmetic, x, quantised, channel));
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
    return this->run(
        table.prepare[static_cast<int>(arithmetic)].run,
        table.linear[static_cast<int>(arithmetic)][static_cast<int>(weight_->form)].run, arithmetic,
        run);
  }

  std::vector<float> run(PrepareFunction* prepare, LinearFunction* linear, Arithmetic arithmetic,
                         const Run& run) const {
    const AlignedMemory activations(activation_bytes(arithmetic, run.rows, columns_));
    const int64_t cut = run.rows / 2;  // rows in any order
    prepare({x_.data() + cut * columns_, columns_, run.rows, columns_, cut, run.rows,
             activations.get(), cut});
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
        linear(args);
      }
    }
    return y;
  }

  float expected_sum(Arithmetic arithmetic, const float* x,
                     const reference::QuantisedRow& quantised, int64_t channel) const {
    switch (arithmetic) {
      case Arithmetic::f32:
        return reference::linear_f32(x, matrix_, channel);
      case Arithmetic::bf16:
        return reference::linear_bf16(x, matrix_, channel);
      case Arithmetic::int8:
        return reference::linear_int8(quantised, matrix_, channel);
      case Arithmetic::int8wide:
        break;
    }
    return reference::linear_int8wide(x, matrix_, channel);
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

inline std::string linear_case_name(const testing::TestParamInfo<std::tuple<int, int64_t>>& info) {
  return std::string(weight_cases()[static_cast<size_t>(std::get<0>(info.param))].name) + "_" +
         std::to_string(std::get<1>(info.param));
}

}  // namespace dunlin

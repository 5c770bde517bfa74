// Values worked out by hand from docs/decisions/0002-numerics.md, chosen so that another order of
// operations gives another result.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "backend/reference/linear.h"
#include "backend/reference/scalar.h"
#include "base/scalar_math.h"
#include "base/thread_pool.h"

namespace dunlin::reference {
namespace {

using testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> ones(size_t count) {
  return std::vector<float>(count, 1.0f);
}

TEST(ChainDot, EvenAndOddTermsAreSeparateChains) {
  // One chain would give ((1e8 + 1) - 1e8) + 1 = 1.
  const std::vector<float> w{1e8f, 1.0f, -1e8f, 1.0f};
  EXPECT_EQ(chain_dot(ones(4).data(), w.data(), 4), 2.0f);
}

TEST(ChainDot, ProductsAreFused) {
  // (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24, which a rounded product loses.
  const std::vector<float> x{1.0f, 0.0f, 1.0f + 0x1p-12f};
  const std::vector<float> w{-(1.0f + 0x1p-11f), 0.0f, 1.0f + 0x1p-12f};
  EXPECT_EQ(chain_dot(x.data(), w.data(), 3), 0x1p-24f);
}

TEST(ChainDot, BlocksOf32AddTheirSumToTheTotal) {
  // Block 0 gives 1; block 1 gives 2^-24 + 2^-24 = 2^-23, added at once. Term by term each 2^-24
  // would vanish.
  std::vector<float> w(34, 0.0f);
  w[0] = 1.0f;
  w[32] = 0x1p-24f;
  w[33] = 0x1p-24f;
  EXPECT_EQ(chain_dot(ones(34).data(), w.data(), 34), 1.0f + 0x1p-23f);
  // Within one block they are in two chains, and 2^-24 + 1 rounds to 1.
  std::vector<float> same{1.0f, 0x1p-24f, 0.0f, 0.0f};
  EXPECT_EQ(chain_dot(ones(4).data(), same.data(), 4), 1.0f);
}

TEST(ChainDot, ColumnsGiveTheBitsOfOneDot) {
  for (const int64_t width : {1, 3, 16, 20, 64}) {
    for (const int64_t count : {1, 31, 32, 33, 100}) {
      std::vector<float> x(static_cast<size_t>(count));
      std::vector<float> w(static_cast<size_t>(count * width));
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * 7 + 1));
      for (size_t i = 0; i < w.size(); ++i) w[i] = std::cos(static_cast<float>(i * 3 + 2));
      std::vector<float> y(static_cast<size_t>(width));
      for (const int64_t begin : {int64_t{0}, count / 2}) {
        chain_dot_columns(x.data(), w.data(), begin, count, width, y.data());
        for (int64_t i = 0; i < width; ++i) {
          std::vector<float> column(x.size(), 0.0f);
          for (int64_t k = begin; k < count; ++k) {
            column[static_cast<size_t>(k)] = w[static_cast<size_t>(k * width + i)];
          }
          EXPECT_EQ(y[static_cast<size_t>(i)], chain_dot(x.data(), column.data(), count));
        }
      }
    }
  }
}

TEST(ChainDot, DenormalSumsAreFlushed) {
  const FlushToZero flush_to_zero;
  const float x = 0x1p-70f;
  const float w = 0x1p-60f;
  EXPECT_EQ(chain_dot(&x, &w, 1), 0.0f);
}

TEST(LaneSum, SixteenLanesThenATree) {
  std::vector<float> v(17, 0.0f);
  v[0] = 1e8f;
  v[16] = 1.0f;  // lane 0: 1e8 + 1 = 1e8
  v[8] = -1e8f;  // joined with lane 0 first: 0
  v[1] = 3.0f;
  EXPECT_EQ(lane_sum(v.data(), 17), 3.0f);  // in order: ((1e8 + 3) - 1e8) + 1 = 1
}

TEST(LaneSum, SquaresAreFused) {
  // Lane 0: 2^24 + fma(2^-1 ...): 4096^2 = 2^24, then 1.5^2 = 2.25 on top: 2^24 + 2 (even).
  std::vector<float> v(17, 0.0f);
  v[0] = 4096.0f;
  v[16] = 1.5f;
  EXPECT_EQ(lane_sum_of_squares(v.data(), 17), 16777218.0f);
  std::vector<float> w(17, 0.0f);
  w[0] = 1.0f;
  w[16] = 1.0f + 0x1p-12f;  // 2 + 2^-11 + 2^-24 rounds to 2 + 2^-11
  EXPECT_EQ(lane_sum_of_squares(w.data(), 17), 2.0f + 0x1p-11f);
}

TEST(QuantizeActivations, RoundsHalfToEvenBySharedScale) {
  std::vector<float> x(64, 0.0f);
  x[0] = 127.0f;
  x[1] = 0.5f;
  x[2] = 1.5f;
  x[3] = 2.5f;
  x[4] = -127.0f;
  x[33] = -0.25f;
  std::vector<int8_t> codes(64);
  std::vector<float> scales(2);
  quantize_activations(x.data(), 64, codes.data(), scales.data());
  EXPECT_THAT(scales, ElementsAre(1.0f, 0.25f / 127.0f));
  EXPECT_THAT(std::vector<int>(codes.begin(), codes.begin() + 5), ElementsAre(127, 0, 2, 2, -127));
  EXPECT_EQ(codes[33], -127);
}

TEST(QuantizeActivations, TinyGroupsAreZeroAndInfiniteOnesNaN) {
  std::vector<float> x(96, 0x1p-101f);
  x[32] = 0x1p-100f;
  x[70] = kInfinity;
  std::vector<int8_t> codes(96, 5);
  std::vector<float> scales(3);
  quantize_activations(x.data(), 96, codes.data(), scales.data());
  EXPECT_EQ(scales[0], 0.0f);
  EXPECT_EQ(codes[0], 0);
  EXPECT_EQ(scales[1], 0x1p-100f / 127.0f);
  EXPECT_EQ(codes[32], 127);
  EXPECT_TRUE(std::isnan(scales[2]));
  x[70] = kNaN;
  quantize_activations(x.data(), 96, codes.data(), scales.data());
  EXPECT_TRUE(std::isnan(scales[2]));
}

TEST(Int8Dot, GroupsOf32WithMinimum) {
  std::vector<int8_t> q(32, 0);
  q[0] = 100;
  q[31] = -3;
  std::vector<int8_t> codes(32, 2);
  const float s = 0.5f;
  const float ws = 0.25f;
  const float wm = -1.0f;
  // sum q code = 194, sum q = 97: 194 * 0.125 + 97 * -0.5.
  EXPECT_EQ(int8_dot(q.data(), &s, {codes.data(), &ws, &wm, 32}, 32), 24.25f - 48.5f);
  EXPECT_EQ(int8_dot(q.data(), &s, {codes.data(), &ws, nullptr, 32}, 32), 24.25f);
}

TEST(Int8Dot, GroupsOf16ShareAnActivationScale) {
  std::vector<int8_t> q(32, 1);
  std::vector<int8_t> codes(32, 1);
  const float s = 2.0f;
  const std::vector<float> ws{1.0f, 0.5f};
  EXPECT_EQ(int8_dot(q.data(), &s, {codes.data(), ws.data(), nullptr, 16}, 32), 32.0f + 16.0f);
}

TEST(Int8Dot, LargestSumsAreExact) {
  std::vector<int8_t> q(32, -127);
  std::vector<int8_t> codes(32, -128);
  const float one = 1.0f;
  EXPECT_EQ(int8_dot(q.data(), &one, {codes.data(), &one, nullptr, 32}, 32), 520192.0f);
}

// One group of all columns: the largest sum of 32 bits.
TEST(Int8Dot, LargestSumOfAWholeRowIsExact) {
  const std::vector<int8_t> q(kMostWideColumns, -127);
  const float one = 1.0f;
  EXPECT_EQ(int8_dot(q.data(), &one, {q.data(), &one, nullptr, kMostWideColumns}, kMostWideColumns),
            2147479576.0f);
}

// A weight of `rows` equal rows under a profile.
LinearWeight weight_of(Format format, const std::vector<float>& row, int64_t rows,
                       Precision precision) {
  const auto columns = static_cast<int64_t>(row.size());
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(traits(format), columns)));
  traits(format).encode(row.data(), columns, nullptr, blocks.data());
  LinearWeight weight = make_linear_weight(format, rows, columns, precision);
  for (int64_t i = 0; i < rows; ++i)
    set_rows(weight, {&traits(format), weight.columns}, i, 1, blocks.data());
  return weight;
}

float linear_value(Format format, const std::vector<float>& x, const std::vector<float>& row,
                   Precision precision, RowClass row_class) {
  const LinearWeight weight = weight_of(format, row, 19, precision);
  std::vector<float> y(19);
  linear(weight, x.data(), std::span(&row_class, 1), y.data());
  for (const float value : y) EXPECT_EQ(value, y[0]);
  return y[0];
}

TEST(Linear, Bf16RoundsBothSidesAndF32Neither) {
  // 1 + 2^-9 is not a bf16: it rounds to 1.
  const std::vector<float> x{1.0f + 0x1p-9f};
  const std::vector<float> w{1.0f + 0x1p-9f};
  const float exact = 1.0f + 0x1p-8f + 0x1p-18f;
  const auto prompt = RowClass::prompt;
  EXPECT_EQ(linear_value(Format::f32, x, w, Precision::automatic, prompt), exact);
  EXPECT_EQ(linear_value(Format::f16, x, w, Precision::f32, prompt), exact);
  EXPECT_EQ(linear_value(Format::f16, x, w, Precision::automatic, prompt), 1.0f);
  EXPECT_EQ(linear_value(Format::bf16, x, w, Precision::f32, prompt), 1.0f + 0x1p-9f);
}

TEST(Linear, Q8_0UsesEachArithmeticOfItsProfile) {
  // Row: 127 codes with scale 1/64 (exact in F16 and bf16); x: 1.015625 = 65/64, an exact bf16.
  std::vector<float> row(32, 0.0f);
  row[0] = 127.0f / 64.0f;
  row[1] = 1.0f / 64.0f;
  std::vector<float> x(32, 0.0f);
  x[0] = 127.0f;
  x[1] = 0.40625f;  // int8: rounds to 0
  const float first = 127.0f * 127.0f / 64.0f;
  const float second = 0.40625f / 64.0f;
  EXPECT_EQ(linear_value(Format::q8_0, x, row, Precision::f32, RowClass::generated),
            first + second);
  EXPECT_EQ(linear_value(Format::q8_0, x, row, Precision::automatic, RowClass::prompt),
            first + second);
  EXPECT_EQ(linear_value(Format::q8_0, x, row, Precision::automatic, RowClass::generated), first);
  EXPECT_EQ(linear_value(Format::q8_0, x, row, Precision::exact, RowClass::generated),
            first + second);
}

// 48 columns, which no group of 32 divides.
TEST(Linear, FastHasOneScaleForARowOfEachSide) {
  std::vector<float> row(48, 0.0f);
  row[0] = 127.0f / 64.0f;   // scale 1/64
  row[1] = 0.4375f / 64.0f;  // rounds to 0
  row[40] = 2.5f / 64.0f;    // to 2
  std::vector<float> x(48, 0.0f);
  x[0] = 127.0f;  // scale 1
  x[1] = 127.0f;
  x[40] = -3.5f;  // to -4
  for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
    EXPECT_EQ(linear_value(Format::bf16, x, row, Precision::fast, row_class),
              (127.0f * 127.0f - 8.0f) / 64.0f);
  }
}

TEST(Linear, FastOfSmallOrInfiniteRows) {
  const auto value = [](float x, float w) {
    const LinearWeight weight =
        weight_of(Format::bf16, std::vector<float>(3, w), 1, Precision::fast);
    const std::vector<float> inputs(3, x);
    const RowClass row_class = RowClass::prompt;
    float y = -1.0f;
    linear(weight, inputs.data(), std::span(&row_class, 1), &y);
    return y;
  };
  EXPECT_EQ(value(0x1p-101f, 1.0f), 0.0f);
  EXPECT_EQ(value(1.0f, 0x1p-101f), 0.0f);
  EXPECT_TRUE(std::isnan(value(kInfinity, 1.0f)));
  EXPECT_TRUE(std::isnan(value(1.0f, kInfinity)));
}

TEST(Linear, FastKeepsWhatIsAnEmbeddingToo) {
  const LinearWeight kept = make_linear_weight(Format::q8_0, 19, 64, Precision::fast, true);
  EXPECT_EQ(kept.bytes(), make_linear_weight(Format::q8_0, 19, 64, Precision::int8).bytes());
  EXPECT_EQ(kept.prompt, Arithmetic::int8);
  const LinearWeight wide = make_linear_weight(Format::q8_0, 19, 64, Precision::fast);
  EXPECT_EQ(wide.generated, Arithmetic::int8wide);
  EXPECT_EQ(wide.bytes(), linear_weight_bytes(Format::q8_0, 19, 64, Precision::fast));
  EXPECT_EQ(wide.bytes(), 19u * (64 + 4));
}

TEST(RmsNorm, ScalesThenMultipliesByTheWeight) {
  const std::vector<float> x{3.0f, 4.0f};
  const std::vector<float> w{1.0f, 2.0f};
  std::vector<float> y(2);
  rms_norm(x.data(), w.data(), 2, 0.0f, y.data());
  const float r = 1.0f / std::sqrt(12.5f);
  EXPECT_THAT(y, ElementsAre(3.0f * r, (4.0f * r) * 2.0f));
  EXPECT_NEAR(y[0], 0.84852814f, 1e-6f);
}

TEST(RmsNorm, EpsilonKeepsZerosFinite) {
  const std::vector<float> zeros(5, 0.0f);
  const std::vector<float> w(5, 1.0f);
  std::vector<float> y(5, 1.0f);
  rms_norm(zeros.data(), w.data(), 5, 1e-6f, y.data());
  EXPECT_EQ(y, zeros);
}

TEST(Rope, TurnsPairsHalfARotaryWidthApart) {
  const std::vector<float> x{1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
  const std::vector<float> angles{0.0f, 1.0f, 1.0f, 0.0f};  // a quarter turn, no turn
  std::vector<float> y(5);
  rope(x.data(), angles.data(), 5, 4, y.data());
  EXPECT_THAT(y, ElementsAre(-3.0f, 2.0f, 1.0f, 4.0f, 5.0f));
}

TEST(RopeAngles, AreCosineAndSineOfPositionTimesFrequency) {
  std::vector<float> angles(4);
  rope_angles(1000, {{1.0f, 0.01f}, 1.0f}, angles.data());
  EXPECT_NEAR(angles[0], std::cos(1000.0), 1e-7);
  EXPECT_NEAR(angles[1], std::sin(1000.0), 1e-7);
  EXPECT_NEAR(angles[2], std::cos(static_cast<double>(1000.0f * 0.01f)), 1e-7);
  const float unscaled = angles[3];
  rope_angles(1000, {{1.0f, 0.01f}, 1.5f}, angles.data());
  EXPECT_EQ(angles[3], unscaled * 1.5f);
}

TEST(Activations, AreCloseToTheirFunctions) {
  for (const float x : {-20.0f, -3.0f, -0.5f, 0.0f, 0.25f, 1.0f, 4.0f, 20.0f}) {
    const double wide = static_cast<double>(x);
    const double sigmoid = 1.0 / (1.0 + std::exp(-wide));
    const double z = std::sqrt(2.0 / M_PI) * (wide + 0.044715 * wide * wide * wide);
    EXPECT_NEAR(act(ActAttributes::Kind::sigmoid, x), sigmoid, 2e-7);
    EXPECT_NEAR(act(ActAttributes::Kind::silu, x), wide * sigmoid, 4e-6);
    EXPECT_NEAR(act(ActAttributes::Kind::gelu_tanh, x), 0.5 * wide * (1.0 + std::tanh(z)), 4e-6);
    EXPECT_NEAR(softcap(x, 5.0f), 5.0 * std::tanh(wide / 5.0), 2e-6);
  }
}

TEST(Gated, OaiClampsGateFromAboveAndUpOnBothSides) {
  const GatedAttributes oai{GateKind::oai, 1.702f, 7.0f};
  const float at_limit = 7.0f * sigmoid_f32(1.702f * 7.0f);
  EXPECT_EQ(gated(oai, 100.0f, 100.0f), 8.0f * at_limit);
  EXPECT_EQ(gated(oai, 7.0f, -100.0f), -6.0f * at_limit);
  EXPECT_EQ(gated(oai, -2.0f, 0.0f), -2.0f * sigmoid_f32(1.702f * -2.0f));
  EXPECT_EQ(gated({GateKind::silu}, 2.0f, 3.0f), silu_f32(2.0f) * 3.0f);
  EXPECT_EQ(gated({GateKind::gelu_tanh}, 2.0f, 3.0f), gelu_tanh(2.0f) * 3.0f);
}

TEST(Route, TiesGoToTheLowestExpert) {
  const std::vector<float> logits{1.0f, 3.0f, 3.0f, 2.0f};
  std::vector<int32_t> experts(2);
  std::vector<float> weights(2);
  route(logits.data(), 4, {2, false}, experts.data(), weights.data());
  EXPECT_THAT(experts, ElementsAre(1, 2));
  EXPECT_THAT(weights, ElementsAre(0.5f, 0.5f));
}

TEST(Route, AnExpertWithoutAScoreIsTheLastAndWeighsNothing) {
  const std::vector<float> logits{1.0f, kNaN, 1.0f};
  std::vector<int32_t> experts(3);
  std::vector<float> weights(3);
  route(logits.data(), 3, {3, false}, experts.data(), weights.data());
  EXPECT_THAT(experts, ElementsAre(0, 2, 1));
  EXPECT_THAT(weights, ElementsAre(0.5f, 0.5f, 0.0f));
}

// A row of activations that is not a number stays one.
TEST(Route, WithoutAnyScoreTheWeightsAreNoNumbers) {
  const std::vector<float> logits(3, kNaN);
  std::vector<int32_t> experts(2);
  std::vector<float> weights(2);
  route(logits.data(), 3, {2, false}, experts.data(), weights.data());
  EXPECT_THAT(experts, ElementsAre(0, 1));
  EXPECT_TRUE(std::isnan(weights[0]) && std::isnan(weights[1]));
}

TEST(Route, SoftmaxOverAllExpertsIsNotNormalisedAgain) {
  const std::vector<float> logits{0.0f, std::log(2.0f), 0.0f};
  std::vector<int32_t> experts(2);
  std::vector<float> weights(2);
  route(logits.data(), 3, {2, true}, experts.data(), weights.data());
  EXPECT_THAT(experts, ElementsAre(1, 0));
  EXPECT_NEAR(weights[0], 0.5f, 1e-6f);
  EXPECT_NEAR(weights[1], 0.25f, 1e-6f);
}

TEST(LogitStatistics, UniformRow) {
  const std::vector<float> row(8, 3.0f);
  const LogitStatistics s = logit_statistics(row.data(), 8, 2.0f);
  const float log8 = std::log(8.0f);
  EXPECT_TRUE(s.finite);
  EXPECT_FLOAT_EQ(s.lse, 3.0f + log8);
  EXPECT_FLOAT_EQ(s.lse_temperature, 1.5f + log8);
  EXPECT_NEAR(s.entropy, log8, 1e-6f);
  EXPECT_NEAR(s.varentropy, 0.0f, 1e-6f);
}

TEST(LogitStatistics, TwoToOneOdds) {
  const std::vector<float> row{std::log(2.0f), 0.0f, -kInfinity};
  const LogitStatistics s = logit_statistics(row.data(), 3, 0.0f);
  const double h = std::log(3.0) - 2.0 / 3.0 * std::log(2.0);
  const double deviation = std::log(2.0) / 3.0;  // of log p of the first from -h; the other twice
  EXPECT_TRUE(s.finite);
  EXPECT_NEAR(s.lse, std::log(3.0), 1e-6);
  EXPECT_EQ(s.lse_temperature, s.lse);
  EXPECT_NEAR(s.entropy, h, 1e-6);
  EXPECT_NEAR(s.varentropy, 2.0 * deviation * deviation, 1e-6);
}

TEST(LogitStatistics, RowsThatCannotBeSampled) {
  for (const float bad : {kNaN, kInfinity}) {
    const std::vector<float> row{1.0f, bad};
    EXPECT_FALSE(logit_statistics(row.data(), 2, 1.0f).finite);
  }
  const std::vector<float> masked{-kInfinity, -kInfinity};
  EXPECT_FALSE(logit_statistics(masked.data(), 2, 1.0f).finite);
}

TEST(TopK, DescendsWithTiesByLowestIdAndNaNLast) {
  const std::vector<float> values{1.0f, kNaN, 5.0f, 1.0f, 5.0f, -kInfinity};
  std::vector<int32_t> ids(6);
  std::vector<float> best(6);
  top_k(values.data(), 6, 6, ids.data(), best.data());
  EXPECT_THAT(ids, ElementsAre(2, 4, 0, 3, 1, 5));
  EXPECT_THAT(best, ElementsAre(5.0f, 5.0f, 1.0f, 1.0f, -kInfinity, -kInfinity));
}

TEST(Sample, IsTheInverseOfTheCumulatedProbabilities) {
  const std::vector<int32_t> ids{7, 3, 9};
  const std::vector<float> logits{std::log(4.0f), std::log(2.0f), 0.0f};
  const float lse = std::log(8.0f);  // one eighth lies outside the candidates
  EXPECT_EQ(sample(ids, logits, lse, 1.0f, 0.0f), 7);
  EXPECT_EQ(sample(ids, logits, lse, 1.0f, 0.49f), 7);
  EXPECT_EQ(sample(ids, logits, lse, 1.0f, 0.51f), 3);
  EXPECT_EQ(sample(ids, logits, lse, 1.0f, 0.76f), 9);
  EXPECT_EQ(sample(ids, logits, lse, 1.0f, 0.9f), -1);
  EXPECT_EQ(sample(ids, logits, lse, 0.0f, 0.9f), 7);
}

}  // namespace
}  // namespace dunlin::reference

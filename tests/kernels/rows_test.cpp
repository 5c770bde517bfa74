// Row, element-wise and logit kernels of every instruction set against the plain loops, bit for
// bit.
#include <cmath>
#include <numeric>

#include "backend/cpu/kernels/activations.h"
#include "base/thread_pool.h"
#include "kernel_case.h"

namespace dunlin {
namespace {

constexpr int64_t kSizes[] = {1, 5, 15, 16, 17, 31, 32, 33, 63, 576, 2048};

class RowsTest : public testing::TestWithParam<Isa> {
 protected:
  const Kernels& table_ = kernels(GetParam());
  const FlushToZero flush_to_zero_;
  std::mt19937 random_{11};
};

// Ordinary values, zeros of both signs, denormals, and values at the ends of exp.
std::vector<float> hard_floats(int64_t n, std::mt19937& random, float scale) {
  std::vector<float> values = random_floats(n, random, scale);
  const float special[] = {0.0f,   -0.0f,  1e-40f,    -1e-40f,    87.3365f, -87.3365f, -87.33654f,
                           88.72f, 88.73f, -88.73f,   100.0f,     -100.0f,  1e-20f,    -1e-20f,
                           1.0f,   -1.0f,  0x1p-126f, -0x1p-126f, 17.5f,    -0.5f};
  for (size_t i = 0; i < values.size(); i += 3) values[i] = special[random() % std::size(special)];
  return values;
}

TEST_P(RowsTest, RmsNorm) {
  for (const int64_t n : kSizes) {
    const std::vector<float> x = random_floats(n, random_, 3.0f);
    const std::vector<float> w = random_floats(n, random_);
    const float q = reference::lanes_of_squares(x.data(), n);
    const float mean = q / static_cast<float>(n);
    const float r = 1.0f / std::sqrt(mean + 1e-5f);
    std::vector<float> expected;
    for (size_t i = 0; i < x.size(); ++i) expected.push_back((x[i] * r) * w[i]);
    std::vector<float> y(x.size());
    table_.rms_norm.run(x.data(), w.data(), n, 1e-5f, y.data());
    EXPECT_TRUE(same_bits(y, expected)) << n;
    std::vector<float> in_place = x;
    table_.rms_norm.run(in_place.data(), w.data(), n, 1e-5f, in_place.data());
    EXPECT_TRUE(same_bits(in_place, expected)) << n;
  }
}

TEST_P(RowsTest, AddAndMul) {
  for (const int64_t n : kSizes) {
    const std::vector<float> a = hard_floats(n, random_, 3.0f);
    const std::vector<float> b = hard_floats(n, random_, 1e-3f);
    std::vector<float> sum;
    std::vector<float> product;
    for (size_t i = 0; i < a.size(); ++i) {
      sum.push_back(a[i] + b[i]);
      product.push_back(a[i] * b[i]);
    }
    std::vector<float> y(a.size() + 1, 7.0f);
    table_.add.run(a.data(), b.data(), n, y.data());
    EXPECT_TRUE(same_bits(y.data(), sum.data(), n));
    table_.mul.run(a.data(), b.data(), n, y.data());
    EXPECT_TRUE(same_bits(y.data(), product.data(), n));
    EXPECT_EQ(y.back(), 7.0f) << "wrote past the end";
  }
}

TEST_P(RowsTest, AddScaled) {
  for (const int64_t n : kSizes) {
    const std::vector<float> x = hard_floats(n, random_, 3.0f);
    std::vector<float> y = hard_floats(n, random_, 2.0f);
    std::vector<float> expected;
    for (size_t i = 0; i < x.size(); ++i) expected.push_back(std::fma(0.37f, x[i], y[i]));
    y.push_back(7.0f);
    table_.add_scaled.run(x.data(), 0.37f, n, y.data());
    EXPECT_TRUE(same_bits(y.data(), expected.data(), n)) << n;
    EXPECT_EQ(y.back(), 7.0f) << "wrote past the end";
  }
}

TEST_P(RowsTest, Gates) {
  const float alpha = 1.702f;
  const float limit = 7.0f;
  for (const int64_t n : kSizes) {
    const std::vector<float> gate = hard_floats(n, random_, 20.0f);
    const std::vector<float> up = hard_floats(n, random_, 5.0f);
    std::vector<float> silu;
    std::vector<float> gelu;
    std::vector<float> oai;
    for (size_t i = 0; i < gate.size(); ++i) {
      const float g = gate[i];
      silu.push_back(silu_f32(g) * up[i]);
      const float inner = g + 0.044715f * ((g * g) * g);
      gelu.push_back((g * sigmoid_f32(1.5957691f * inner)) * up[i]);
      const float clipped = std::min(g, limit);
      const float u = std::clamp(up[i], -limit, limit);
      oai.push_back((u + 1.0f) * (clipped * sigmoid_f32(alpha * clipped)));
    }
    std::vector<float> y(gate.size());
    const auto run = [&](Gate kind) {
      table_.gated[static_cast<int>(kind)].run(gate.data(), up.data(), n, alpha, limit, y.data());
      return y;
    };
    EXPECT_TRUE(same_bits(run(Gate::silu), silu)) << n;
    EXPECT_TRUE(same_bits(run(Gate::gelu_tanh), gelu)) << n;
    EXPECT_TRUE(same_bits(run(Gate::oai), oai)) << n;
  }
}

TEST_P(RowsTest, ExponentialOverItsWholeRange) {
  // With up = 1, silu shows every bit of exp.
  std::vector<float> gate;
  for (float x = -110.0f; x < 110.0f; x += 0.0137f) gate.push_back(x);
  const std::vector<float> up(gate.size(), 1.0f);
  std::vector<float> expected;
  for (const float g : gate) expected.push_back(silu_f32(g));
  std::vector<float> y(gate.size());
  table_.gated[static_cast<int>(Gate::silu)].run(gate.data(), up.data(),
                                                 static_cast<int64_t>(gate.size()), 0, 0, y.data());
  EXPECT_TRUE(same_bits(y, expected));
}

TEST_P(RowsTest, Rope) {
  for (const int64_t head_dim : {2, 8, 64, 80, 128}) {
    for (const int64_t rotary_dim : {head_dim, head_dim / 4 * 2}) {
      if (rotary_dim == 0) continue;
      const int64_t half = rotary_dim / 2;
      std::vector<float> inv_freq;
      for (int64_t i = 0; i < half; ++i) {
        inv_freq.push_back(
            std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(rotary_dim)));
      }
      std::vector<float> angles(static_cast<size_t>(rotary_dim));
      table_.rope_angles.run(12345, inv_freq.data(), half, 1.25f, angles.data());
      for (int64_t i = 0; i < half; ++i) {
        const CosSin pair = cos_sin_f32(12345.0f * inv_freq[static_cast<size_t>(i)]);
        EXPECT_EQ(angles[static_cast<size_t>(2 * i)], pair.cos * 1.25f);
        EXPECT_EQ(angles[static_cast<size_t>(2 * i + 1)], pair.sin * 1.25f);
      }
      const int64_t heads = 3;
      const std::vector<float> x = random_floats(heads * head_dim, random_);
      std::vector<float> expected = x;
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const size_t low = static_cast<size_t>(head * head_dim + i);
          const size_t high = low + static_cast<size_t>(half);
          const float cosine = angles[static_cast<size_t>(2 * i)];
          const float sine = angles[static_cast<size_t>(2 * i + 1)];
          expected[low] = std::fma(x[low], cosine, -(x[high] * sine));
          expected[high] = std::fma(x[high], cosine, x[low] * sine);
        }
      }
      std::vector<float> y(x.size());
      table_.rope.run(x.data(), heads, head_dim, rotary_dim, angles.data(), y.data());
      EXPECT_TRUE(same_bits(y, expected)) << head_dim << " " << rotary_dim;
      std::vector<float> in_place = x;
      table_.rope.run(in_place.data(), heads, head_dim, rotary_dim, angles.data(), in_place.data());
      EXPECT_TRUE(same_bits(in_place, expected)) << head_dim << " " << rotary_dim;
    }
  }
}

LogitStatistics expected_statistics(const std::vector<float>& logits) {
  LogitStatistics s{};
  s.max = *std::max_element(logits.begin(), logits.end());
  std::vector<float> e;
  std::vector<float> el;
  for (const float l : logits) {
    e.push_back(exp_f32(l - s.max));
    el.push_back(e.back() == 0.0f ? 0.0f : e.back() * l);
  }
  const float z = reference::lanes(e);
  s.log_sum_exp = s.max + static_cast<float>(std::log(static_cast<double>(z)));
  s.entropy = s.log_sum_exp - reference::lanes(el) / z;
  std::vector<float> square;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float d = (logits[i] - s.log_sum_exp) + s.entropy;
    square.push_back(e[i] == 0.0f ? 0.0f : e[i] * (d * d));
  }
  s.varentropy = reference::lanes(square) / z;
  return s;
}

TEST_P(RowsTest, LogitStatistics) {
  for (const int64_t n : {1, 15, 16, 17, 1000, 49152}) {
    std::vector<float> logits = random_floats(n, random_, 4.0f);
    if (n >= 1000) {
      for (size_t i = 7; i < logits.size(); i += 13)
        logits[i] = -std::numeric_limits<float>::infinity();
      logits[500] = -300.0f;
    }
    LogitStatistics actual{};
    table_.logit_statistics.run(logits.data(), n, &actual);
    const LogitStatistics expected = expected_statistics(logits);
    EXPECT_TRUE(same_bits(&actual.max, &expected.max, 1));
    EXPECT_TRUE(same_bits(&actual.log_sum_exp, &expected.log_sum_exp, 1)) << n;
    EXPECT_TRUE(same_bits(&actual.entropy, &expected.entropy, 1)) << n;
    EXPECT_TRUE(same_bits(&actual.varentropy, &expected.varentropy, 1)) << n;
    EXPECT_TRUE(actual.finite);
  }
}

TEST_P(RowsTest, EntropyOfAUniformRowIsTheLogarithmOfItsLength) {
  const std::vector<float> logits(1000, 2.5f);
  LogitStatistics actual{};
  table_.logit_statistics.run(logits.data(), 1000, &actual);
  EXPECT_NEAR(actual.entropy, std::log(1000.0f), 1e-5f);
  EXPECT_NEAR(actual.varentropy, 0.0f, 1e-9f);
}

TEST_P(RowsTest, RowsThatAreNotFiniteAreFlagged) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto finite = [&](std::vector<float> logits) {
    LogitStatistics actual{};
    table_.logit_statistics.run(logits.data(), static_cast<int64_t>(logits.size()), &actual);
    return actual.finite;
  };
  std::vector<float> logits(40, 1.0f);
  EXPECT_TRUE(finite(logits));
  logits[37] = infinity;
  EXPECT_FALSE(finite(logits));
  logits[37] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(finite(logits));
  EXPECT_FALSE(finite(std::vector<float>(40, -infinity)));
}

TEST_P(RowsTest, TopKIsAStableDescendingSort) {
  for (const int64_t n : {1, 16, 50, 1000, 5003}) {
    std::vector<float> logits = random_floats(n, random_, 2.0f);
    for (float& l : logits) l = std::round(l * 4.0f) / 4.0f;  // many ties
    if (n == 1000) logits[3] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> clean = logits;
    for (float& l : clean) {
      if (l != l) l = -std::numeric_limits<float>::infinity();
    }
    std::vector<int32_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      const float x = clean[static_cast<size_t>(a)];
      const float y = clean[static_cast<size_t>(b)];
      return x > y || (x == y && a < b);
    });
    for (const int64_t k : {int64_t{1}, std::min<int64_t>(n, 40), n}) {
      std::vector<int32_t> ids(static_cast<size_t>(k));
      std::vector<float> values(static_cast<size_t>(k));
      table_.top_k.run(logits.data(), n, k, ids.data(), values.data());
      EXPECT_EQ(ids, std::vector<int32_t>(order.begin(), order.begin() + k)) << n << " " << k;
      for (size_t i = 0; i < ids.size(); ++i)
        EXPECT_EQ(values[i], clean[static_cast<size_t>(ids[i])]);
    }
  }
}

TEST_P(RowsTest, ActivationsThatOverflowGiveTheSameCodesEverywhere) {
  std::vector<float> x(64, 1.0f);
  x[3] = std::numeric_limits<float>::infinity();
  x[40] = std::numeric_limits<float>::quiet_NaN();
  const int64_t bytes = activation_bytes(Arithmetic::int8, 1, 64);
  const AlignedMemory actual(bytes);
  const AlignedMemory scalar(bytes);
  const PrepareArgs args{x.data(), 64, 1, 64, 0, 1, actual.get()};
  table_.prepare[static_cast<int>(Arithmetic::int8)].run(args);
  PrepareArgs other = args;
  other.out = scalar.get();
  kernels(Isa::scalar).prepare[static_cast<int>(Arithmetic::int8)].run(other);
  EXPECT_EQ(std::memcmp(actual.get(), scalar.get(), 2 * kInt8BlockBytes), 0);
  for (int block = 0; block < 2; ++block) {
    const auto* tile = reinterpret_cast<const Int8Tile<1>*>(actual.get()) + block;
    EXPECT_TRUE(std::isnan(tile->scales[0])) << block;
  }
}

// A whole row shares what one of its numbers makes NaN; another row does not.
TEST_P(RowsTest, WideActivationsThatOverflowGiveTheSameCodesEverywhere) {
  constexpr int64_t kWidth = 70;  // of 64 and 6
  constexpr auto kWide = static_cast<size_t>(Arithmetic::int8wide);
  std::vector<float> x(3 * kWidth, 1.0f);
  x[69] = std::numeric_limits<float>::infinity();
  x[kWidth + 5] = std::numeric_limits<float>::quiet_NaN();
  const int64_t bytes = activation_bytes(Arithmetic::int8wide, 3, kWidth);
  const AlignedMemory actual(bytes);
  const AlignedMemory scalar(bytes);
  PrepareArgs args{x.data(), kWidth, 3, kWidth, 0, 3, actual.get()};
  table_.prepare[kWide].run(args);
  args.out = scalar.get();
  kernels(Isa::scalar).prepare[kWide].run(args);
  EXPECT_EQ(std::memcmp(actual.get(), scalar.get(), static_cast<size_t>(bytes)), 0);
  const auto* rows = reinterpret_cast<const WideRow*>(actual.get());
  EXPECT_TRUE(std::isnan(rows[0].scale));
  EXPECT_TRUE(std::isnan(rows[1].scale));
  EXPECT_EQ(rows[2].scale, 1.0f / 127.0f);
  EXPECT_EQ(rows[2].offset, 128 * 127 * kWidth);
}

INSTANTIATE_TEST_SUITE_P(Isas, RowsTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace dunlin

// Attention against a plain softmax in double precision, and the values that masks must not touch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "backend/reference/scalar.h"
#include "case_random.h"

namespace dunlin::reference {
namespace {

constexpr int64_t kHeadDim = 24;

struct Keys {
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<uint8_t> present;

  // Random keys at positions [0, filled); the rest of the last split is empty.
  explicit Keys(int64_t filled) {
    const int64_t length = (filled + kSplitPositions - 1) / kSplitPositions * kSplitPositions;
    keys.resize(static_cast<size_t>(length * kHeadDim));
    values.resize(keys.size());
    present.resize(static_cast<size_t>(length));
    CaseRandom random(static_cast<uint64_t>(filled));
    for (int64_t u = 0; u < filled; ++u) {
      present[static_cast<size_t>(u)] = 1;
      for (int64_t d = 0; d < kHeadDim; ++d) {
        keys[index(u, d)] = 1.7f * random.centered();
        values[index(u, d)] = 1.7f * random.centered();
      }
    }
  }

  static size_t index(int64_t u, int64_t d) { return static_cast<size_t>(u * kHeadDim + d); }
  KeyValues view() const {
    return {keys.data(), values.data(), present.data(), static_cast<int64_t>(present.size())};
  }
};

std::vector<float> query() {
  CaseRandom random(5);
  std::vector<float> q(kHeadDim);
  for (float& value : q) value = 2.0f * random.centered();
  return q;
}

std::vector<float> attend(const Keys& keys, int32_t position, const AttentionAttributes& attributes,
                          const std::optional<float>& sink, bool bf16) {
  std::vector<float> y(kHeadDim);
  attention(query().data(), position, keys.view(), kHeadDim, attributes, sink ? &*sink : nullptr,
            bf16, y.data());
  return y;
}

std::vector<double> plain_softmax(const Keys& keys, int32_t position,
                                  const AttentionAttributes& attributes,
                                  const std::optional<float>& sink) {
  const std::vector<float> q = query();
  std::vector<double> sum(kHeadDim, 0.0);
  double total = sink ? std::exp(static_cast<double>(*sink)) : 0.0;
  for (int64_t u = 0; u < std::ssize(keys.present); ++u) {
    const bool causal = attributes.mask == MaskKind::full || u <= position;
    const bool near = attributes.window == 0 || u > position - attributes.window;
    if (!causal || !near || keys.present[static_cast<size_t>(u)] == 0) continue;
    double score = 0.0;
    for (int64_t d = 0; d < kHeadDim; ++d) {
      score += static_cast<double>(q[static_cast<size_t>(d)]) *
               static_cast<double>(keys.keys[Keys::index(u, d)]);
    }
    score *= static_cast<double>(attributes.scale);
    const auto cap = static_cast<double>(attributes.softcap);
    if (cap > 0.0) score = cap * std::tanh(score / cap);
    const double e = std::exp(score);
    total += e;
    for (int64_t d = 0; d < kHeadDim; ++d) {
      sum[static_cast<size_t>(d)] += e * static_cast<double>(keys.values[Keys::index(u, d)]);
    }
  }
  for (double& value : sum) value /= total;
  return sum;
}

void expect_near_softmax(int64_t filled, int32_t position, const AttentionAttributes& attributes,
                         const std::optional<float>& sink = std::nullopt) {
  const Keys keys(filled);
  const std::vector<double> expected = plain_softmax(keys, position, attributes, sink);
  const std::vector<float> exact = attend(keys, position, attributes, sink, false);
  const std::vector<float> rounded = attend(keys, position, attributes, sink, true);
  for (size_t d = 0; d < expected.size(); ++d) {
    EXPECT_NEAR(exact[d], expected[d], 2e-6) << filled << " keys, position " << position;
    EXPECT_NEAR(rounded[d], expected[d], 0.03) << filled << " keys, position " << position;
  }
}

AttentionAttributes scaled() {
  AttentionAttributes attributes;
  attributes.scale = 0.2f;
  return attributes;
}

TEST(Attention, CausalIsASoftmax) {
  for (const int32_t length : {1, 2, 5, 17, 255, 256, 257, 600}) {
    expect_near_softmax(length, length - 1, scaled());
  }
}

TEST(Attention, EarlierRowsDoNotSeeLaterKeys) {
  for (const int32_t position : {0, 15, 255, 256, 300}) {
    expect_near_softmax(600, position, scaled());
  }
}

TEST(Attention, WindowStartsAnywhereInASplit) {
  AttentionAttributes attributes = scaled();
  for (const int64_t window : {1, 2, 31, 33, 128, 257, 600, 1000}) {
    attributes.window = window;
    expect_near_softmax(600, 599, attributes);
    expect_near_softmax(600, 300, attributes);
  }
}

TEST(Attention, FullMaskSeesEveryKey) {
  AttentionAttributes attributes = scaled();
  attributes.mask = MaskKind::full;
  expect_near_softmax(40, 3, attributes);
  expect_near_softmax(300, 3, attributes);
}

TEST(Attention, SoftcapBoundsScores) {
  AttentionAttributes attributes = scaled();
  attributes.softcap = 1.5f;
  expect_near_softmax(300, 299, attributes);
}

TEST(Attention, SinkJoinsTheDenominator) {
  expect_near_softmax(10, 9, scaled(), 2.0f);
  expect_near_softmax(300, 299, scaled(), -1.0f);
}

TEST(Attention, EvictedKeysAreLeftOut) {
  Keys keys(600);
  for (int64_t u = 16; u < 560; ++u) {
    keys.present[static_cast<size_t>(u)] = 0;
    for (int64_t d = 0; d < kHeadDim; ++d) {
      keys.keys[Keys::index(u, d)] = 0.0f;
      keys.values[Keys::index(u, d)] = 0.0f;
    }
  }
  const std::vector<double> expected = plain_softmax(keys, 599, scaled(), std::nullopt);
  const std::vector<float> y = attend(keys, 599, scaled(), std::nullopt, false);
  for (size_t d = 0; d < expected.size(); ++d) EXPECT_NEAR(y[d], expected[d], 2e-6);
}

TEST(Attention, MaskedKeysAddNothingEvenWhenTheyAreNotNumbers) {
  Keys keys(300);
  const std::vector<float> expected = attend(keys, 270, scaled(), std::nullopt, true);
  for (int64_t u = 271; u < 300; ++u) {
    keys.keys[Keys::index(u, 0)] = std::numeric_limits<float>::quiet_NaN();
    keys.values[Keys::index(u, 1)] = std::numeric_limits<float>::infinity();
  }
  EXPECT_EQ(attend(keys, 270, scaled(), std::nullopt, true), expected);
}

// Keys and values as codes and scales, and what they stand for.
struct CodedKeys {
  Keys codes;
  Keys decoded;
  std::vector<float> key_scales;
  std::vector<float> value_scales;

  explicit CodedKeys(const Keys& plain)
      : codes(plain),
        decoded(plain),
        key_scales(plain.present.size()),
        value_scales(plain.present.size()) {
    for (size_t u = 0; u < plain.present.size(); ++u) {
      key_scales[u] = encode(plain.keys, u, codes.keys, decoded.keys);
      value_scales[u] = encode(plain.values, u, codes.values, decoded.values);
    }
  }

  static float encode(const std::vector<float>& plain, size_t u, std::vector<float>& to_codes,
                      std::vector<float>& to_decoded) {
    std::vector<int8_t> head(kHeadDim);
    const size_t first = u * kHeadDim;
    const float scale = quantize_group(plain.data() + first, kHeadDim, head.data());
    for (size_t d = 0; d < head.size(); ++d) {
      to_codes[first + d] = static_cast<float>(head[d]);
      to_decoded[first + d] = static_cast<float>(head[d]) * scale;
    }
    return scale;
  }

  KeyValues view() const {
    KeyValues all = codes.view();
    all.key_scales = key_scales.data();
    all.value_scales = value_scales.data();
    return all;
  }
};

TEST(Attention, CodesAreASoftmaxOfWhatTheyStandFor) {
  AttentionAttributes windowed = scaled();
  windowed.window = 100;
  AttentionAttributes capped = scaled();
  capped.softcap = 1.5f;
  for (const AttentionAttributes& attributes : {scaled(), windowed, capped}) {
    for (const int32_t length : {1, 17, 256, 300, 600}) {
      const CodedKeys keys{Keys(length)};
      const std::vector<double> expected =
          plain_softmax(keys.decoded, length - 1, attributes, -1.0f);
      const float sink = -1.0f;
      for (const bool bf16 : {false, true}) {
        std::vector<float> y(kHeadDim);
        attention(query().data(), length - 1, keys.view(), kHeadDim, attributes, &sink, bf16,
                  y.data());
        for (size_t d = 0; d < expected.size(); ++d)
          EXPECT_NEAR(y[d], expected[d], bf16 ? 0.03 : 1e-5) << length << " keys";
      }
    }
  }
}

TEST(Attention, ScalesOfMaskedKeysAddNothingEvenWhenTheyAreNotNumbers) {
  CodedKeys keys{Keys(300)};
  const auto attend_270 = [&keys] {
    std::vector<float> y(kHeadDim);
    attention(query().data(), 270, keys.view(), kHeadDim, scaled(), nullptr, true, y.data());
    return y;
  };
  const std::vector<float> expected = attend_270();
  for (size_t u = 271; u < 300; ++u)
    keys.key_scales[u] = keys.value_scales[u] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(attend_270(), expected);
}

TEST(Attention, OneKeyGivesItsValue) {
  const Keys keys(1);
  const std::vector<float> y = attend(keys, 0, scaled(), std::nullopt, false);
  for (int64_t d = 0; d < kHeadDim; ++d) {
    EXPECT_EQ(y[static_cast<size_t>(d)], keys.values[Keys::index(0, d)]);
  }
}

TEST(Attention, ProbabilitiesAreRoundedToTheStorageType) {
  // Two keys, scores 0 and -1: p = 1 and e^-1, whose bf16 is 0.3671875; l is of the unrounded ones.
  Keys keys(2);
  std::fill(keys.keys.begin(), keys.keys.end(), 0.0f);
  std::fill(keys.values.begin(), keys.values.end(), 0.0f);
  std::vector<float> q(kHeadDim, 0.0f);
  q[0] = 1.0f;
  keys.keys[Keys::index(1, 0)] = -1.0f;
  keys.values[Keys::index(1, 3)] = 1.0f;
  std::vector<float> y(kHeadDim);
  AttentionAttributes attributes;
  attention(q.data(), 1, keys.view(), kHeadDim, attributes, nullptr, true, y.data());
  const float p = 0.36787945f;
  EXPECT_EQ(y[3], 0.3671875f * (1.0f / (1.0f + p)));
  attention(q.data(), 1, keys.view(), kHeadDim, attributes, nullptr, false, y.data());
  EXPECT_EQ(y[3], p * (1.0f / (1.0f + p)));
}

// What a value is weighed with is rounded once, with its scale; the denominator knows no scales.
TEST(Attention, AProbabilityTimesTheScaleOfItsValueIsRounded) {
  Keys keys(2);
  std::fill(keys.keys.begin(), keys.keys.end(), 0.0f);
  std::fill(keys.values.begin(), keys.values.end(), 0.0f);
  std::vector<float> q(kHeadDim, 0.0f);
  q[0] = 1.0f;
  keys.keys[Keys::index(1, 0)] = -2.0f;  // times a scale of 0.5
  keys.values[Keys::index(1, 3)] = 3.0f;
  std::vector<float> scales(keys.present.size(), 0.5f);
  std::vector<float> value_scales(keys.present.size(), 0.3f);
  KeyValues cache = keys.view();
  cache.key_scales = scales.data();
  cache.value_scales = value_scales.data();
  std::vector<float> y(kHeadDim);
  attention(q.data(), 1, cache, kHeadDim, AttentionAttributes(), nullptr, true, y.data());
  const float p = 0.36787945f;
  EXPECT_EQ(y[3], round_to_bf16(p * 0.3f) * 3.0f * (1.0f / (1.0f + p)));
}

}  // namespace
}  // namespace dunlin::reference

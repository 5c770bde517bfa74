// Rotary frequencies against values computed by hand from the formulas at the top of
// src/models/rope_config.cpp.
#include "models/rope_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tiny_config.h"

namespace dunlin {
namespace {

std::vector<float> frequencies(const Metadata& config, int64_t head_dim) {
  const auto angles = rope_angles_from(config, head_dim);
  EXPECT_TRUE(angles.ok()) << angles.error().message;
  EXPECT_EQ(angles->scale, 1.0f);
  return angles->inv_freq;
}

void expect_near(const std::vector<float>& values, const std::vector<double>& wanted) {
  ASSERT_EQ(values.size(), wanted.size());
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], wanted[i], 2e-7 * wanted[i]) << i;
}

TEST(RopeConfig, PlainFrequenciesFallByPowersOfTheta) {
  // theta^(-i/4): 10^0, 10^-1, 10^-2, 10^-3.
  expect_near(frequencies(with(Metadata(), "rope_theta", 10000.0), 8), {1.0, 0.1, 0.01, 0.001});
  EXPECT_EQ(frequencies(Metadata(), 8), frequencies(with(Metadata(), "rope_theta", 10000.0), 8));
}

Metadata llama3() {
  Metadata config("some/config.json");
  config.set("rope_theta", 10000.0);
  config.set("rope_scaling.rope_type", std::string("llama3"));
  config.set("rope_scaling.factor", 8.0);
  config.set("rope_scaling.low_freq_factor", 1.0);
  config.set("rope_scaling.high_freq_factor", 4.0);
  config.set("rope_scaling.original_max_position_embeddings", 1000.0);
  return config;
}

Metadata yarn(bool truncate) {
  Metadata config("some/config.json");
  config.set("rope_theta", 150000.0);
  config.set("rope_scaling.rope_type", std::string("yarn"));
  config.set("rope_scaling.factor", 32.0);
  config.set("rope_scaling.truncate", truncate);
  config.set("rope_scaling.original_max_position_embeddings", int64_t{4096});
  return config;
}

// GPT-OSS: 64 dimensions; the ramp lies between pairs 8.092779 and 17.398025, or 8 and 18 when they
// are cut to whole ones.
TEST(RopeConfig, YarnKeepsRampsAndDivides) {
  const std::vector<float> plain = frequencies(with(Metadata(), "rope_theta", 150000.0), 64);
  for (const bool truncate : {false, true}) {
    const auto angles = rope_angles_from(yarn(truncate), 64);
    ASSERT_TRUE(angles.ok()) << angles.error().message;
    EXPECT_FLOAT_EQ(angles->scale, 1.3465736f);
    const double low = truncate ? 8.0 : 8.092779;
    const double high = truncate ? 18.0 : 17.398025;
    for (size_t i = 0; i < plain.size(); ++i) {
      const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      const double wanted = static_cast<double>(plain[i]) * (ramp / 32.0 + 1.0 - ramp);
      EXPECT_NEAR(angles->inv_freq[i], wanted, 2e-6 * wanted) << i << ' ' << truncate;
    }
  }
}

// What transformers takes missing keys for; a factor of cos and sin that is given is taken as it is.
TEST(RopeConfig, YarnsDefaults) {
  Metadata config("some/config.json");
  const Metadata whole = yarn(true);
  for (const auto& [key, value] : whole.values()) {
    if (key != "rope_scaling.truncate") config.set(key, value);
  }
  EXPECT_EQ(rope_angles_from(config, 64)->inv_freq, rope_angles_from(yarn(true), 64)->inv_freq);
  const Metadata beta =
      with(with(config, "rope_scaling.beta_fast", 32.0), "rope_scaling.beta_slow", 1.0);
  EXPECT_EQ(rope_angles_from(beta, 64)->inv_freq, rope_angles_from(config, 64)->inv_freq);
  EXPECT_EQ(rope_angles_from(with(config, "rope_scaling.attention_factor", 1.25), 64)->scale,
            1.25f);
}

TEST(RopeConfig, Llama3KeepsBlendsAndDivides) {
  // Wavelengths 2 pi 10^i: 6.28 and 62.8 are below 1000 / 4 and kept; 6283 is above 1000 / 1 and
  // divided by 8; 628.3 lies between: smooth = (1000 / 628.3185 - 1) / 3 = 0.1971831, and
  // (1 - smooth) 0.01 / 8 + smooth 0.01 = 0.002975352.
  expect_near(frequencies(llama3(), 8), {1.0, 0.1, 0.0029753524, 0.000125});
}

// Llama 3.1 8B: head_dim 128, theta 500000, 8192 trained positions. i = 31: 500000^(-62/128) =
// 0.001735..., blended; the first is kept and the last divided.
TEST(RopeConfig, Llama3WithPublishedValues) {
  Metadata config = llama3();
  config.set("rope_theta", 500000.0);
  config.set("rope_scaling.original_max_position_embeddings", 8192.0);
  const std::vector<float> scaled = frequencies(config, 128);
  const std::vector<float> plain = frequencies(with(Metadata(), "rope_theta", 500000.0), 128);
  for (size_t i = 0; i < scaled.size(); ++i) {
    const double wavelength = 2 * 3.14159265358979323846 / static_cast<double>(plain[i]);
    if (wavelength < 2048) {
      EXPECT_EQ(scaled[i], plain[i]) << i;
    } else if (wavelength > 8192) {
      EXPECT_EQ(scaled[i], plain[i] / 8) << i;
    } else {
      EXPECT_LT(scaled[i], plain[i]) << i;
      EXPECT_GT(scaled[i], plain[i] / 8) << i;
    }
  }
}

TEST(RopeConfig, DivisorsDivideAndWinOverTheScaling) {
  Metadata config = llama3();
  config.set("rope_freq_divisors", std::vector<double>{1.0, 2.0, 4.0, 8.0});
  expect_near(frequencies(config, 8), {1.0, 0.05, 0.0025, 0.000125});
}

void expect_rope_error(const Metadata& config, const std::string& part) {
  const auto angles = rope_angles_from(config, 8);
  ASSERT_FALSE(angles.ok()) << part;
  EXPECT_EQ(angles.error().kind, ErrorKind::model);
  EXPECT_NE(angles.error().message.find(part), std::string::npos) << angles.error().message;
}

TEST(RopeConfig, BadValuesAreNamed) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Metadata plain("some/config.json");
  for (const double bad : {0.0, -1.0, infinity, nan}) {
    for (const char* key :
         {"rope_scaling.factor", "rope_scaling.low_freq_factor", "rope_scaling.high_freq_factor",
          "rope_scaling.original_max_position_embeddings", "rope_theta"}) {
      expect_rope_error(with(llama3(), key, bad), key);
    }
    expect_rope_error(with(plain, "rope_freq_divisors", std::vector<double>{1.0, 1.0, bad, 1.0}),
                      "rope_freqs.weight[2]");
  }
  expect_rope_error(with(llama3(), "rope_scaling.high_freq_factor", 1.0), "high_freq_factor");
  expect_rope_error(with(plain, "rope_freq_divisors", std::vector<double>{1.0, 2.0}), "4 values");
  expect_rope_error(with(plain, "rope_freq_divisors", std::string("1")), "4 values");
  expect_rope_error(with(plain, "rope_scaling.rope_type", std::string("longrope")), "longrope");
  expect_rope_error(with(plain, "rope_scaling.rope_type", std::string("llama3")),
                    "rope_scaling.factor");
  expect_rope_error(with(plain, "rope_scaling.rope_type", std::string("yarn")),
                    "rope_scaling.factor");
  for (const double bad : {0.0, -1.0, infinity, nan}) {
    for (const char* key :
         {"rope_scaling.factor", "rope_scaling.beta_fast", "rope_scaling.beta_slow",
          "rope_scaling.attention_factor", "rope_theta"})
      expect_rope_error(with(yarn(true), key, bad), key);
  }
  expect_rope_error(with(yarn(true), "rope_theta", 1.0), "rope_theta");
}

}  // namespace
}  // namespace dunlin

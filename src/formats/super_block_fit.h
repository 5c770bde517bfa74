// The two levels of a super-block: d (and dmin) in F16 for 256 values, a small integer factor (and
// minimum factor) per group, and the codes, chosen for a small sum w (x - value)^2 with
// value = d * factor * q - dmin * min_factor.
//
// Every group is fitted alone first (weighted_fit.h), which gives the scales that d and the factors
// should multiply to. Then, alternately: with d and dmin fixed, each group takes the factors next to
// its ideal that give the least error with nearest codes; with factors and codes fixed, d and dmin
// are the solution of the normal equations over all 256 values, rounded to F16.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "formats/block_codec.h"
#include "formats/weighted_fit.h"

namespace dunlin {

struct SuperBlockLimits {
  int group;     // values that share a factor
  int low_code;  // 0 with minima
  int high_code;
  int low_factor;  // 0 with minima, which also have factors 0..high_factor
  int high_factor;
  bool has_min;
};

struct EncodedSuperBlock {
  BlockFactors factors;
  int8_t codes[256] = {};
};

template <SuperBlockLimits L>
class SuperBlockSearch {
 public:
  SuperBlockSearch(const float* values, const float* importance)
      : samples_(load_samples<256>(values, importance,
                                   L.has_min ? ErrorWeight::magnitude : ErrorWeight::square)) {}

  EncodedSuperBlock run() {
    start();
    State state = start_;
    choose_factors(state);
    State best = state;
    for (int round = 0; round < kRounds; ++round) {
      if (!refit(state)) break;
      choose_factors(state);
      if (!(state.error < best.error)) break;
      best = state;
    }
    return encoded(best);
  }

 private:
  static constexpr int kGroups = 256 / L.group;
  static constexpr int kRounds = 3;

  // d and dmin are in units of samples_.unit, and F16 numbers when multiplied by it.
  struct State {
    float d = 0.0f;
    float dmin = 0.0f;
    float factors[kGroups] = {};
    float min_factors[kGroups] = {};
    float q[256] = {};
    float error = 0.0f;
  };

  const float* x(int group) const { return samples_.x + group * L.group; }
  const float* w(int group) const { return samples_.w + group * L.group; }
  float rounded(float d) const { return as_float16(d * samples_.unit) / samples_.unit; }

  // Each group alone; d and dmin such that the largest scale and minimum get the extreme factor.
  void start() {
    float scales[kGroups];
    float lowest = 0.0f;
    for (int g = 0; g < kGroups; ++g) {
      if constexpr (L.has_min) {
        ideal_[g] = search_scale_min<L.group>(x(g), w(g), L.high_code, 0.0f);
      } else {
        ideal_[g] = search_scale<L.group>(x(g), w(g), L.low_code, L.high_code);
      }
      scales[g] = ideal_[g].scale;
      lowest = std::min(lowest, ideal_[g].min);
    }
    const int extreme = L.has_min ? L.high_factor : L.low_factor;
    start_.d = rounded(extreme_value<kGroups>(scales) / static_cast<float>(extreme));
    start_.dmin = L.has_min ? rounded(-lowest / static_cast<float>(L.high_factor)) : 0.0f;
  }

  void choose_factors(State& state) const {
    state.error = 0.0f;
    for (int g = 0; g < kGroups; ++g) {
      const float wanted = ideal_[g].scale * reciprocal_or_zero(state.d);
      const float wanted_min = -ideal_[g].min * reciprocal_or_zero(state.dmin);
      Candidate best;
      for (int i = -1; i <= 1; ++i) {
        const float factor = nearest_factor(wanted + static_cast<float>(i));
        for (int j = -1; j <= 1; ++j) {
          if (!L.has_min && j != 0) continue;
          const float min_factor =
              L.has_min ? nearest_factor(wanted_min + static_cast<float>(j)) : 0;
          try_candidate(state, g, factor, min_factor, best);
        }
      }
      state.factors[g] = best.factor;
      state.min_factors[g] = best.min_factor;
      state.error += best.error;
      std::copy_n(best.q, L.group, state.q + g * L.group);
    }
  }

  struct Candidate {
    float factor = 0.0f;
    float min_factor = 0.0f;
    float error = std::numeric_limits<float>::infinity();
    float q[L.group] = {};
  };

  static float nearest_factor(float wanted) {
    return nearest_code(wanted, static_cast<float>(L.low_factor),
                        static_cast<float>(L.high_factor));
  }

  void try_candidate(const State& state, int g, float factor, float min_factor,
                     Candidate& best) const {
    Candidate candidate{factor, min_factor, 0.0f, {}};
    candidate.error = assign_codes<L.group>(
        x(g), w(g), state.d * factor, -(state.dmin * min_factor), static_cast<float>(L.low_code),
        static_cast<float>(L.high_code), candidate.q);
    if (candidate.error < best.error) best = candidate;
  }

  // The d and dmin that fit the factors and codes best; false when they do not change.
  bool refit(State& state) const {
    float a[256];
    float b[256];
    for (int k = 0; k < 256; ++k) {
      a[k] = state.factors[k / L.group] * state.q[k];
      b[k] = -state.min_factors[k / L.group];
    }
    const float* v = samples_.x;
    const float* weights = samples_.w;
    const auto dot = [weights](const float* left, const float* right) {
      return sum_lanes<256>([=](int k) { return weights[k] * left[k] * right[k]; });
    };
    const float aa = dot(a, a);
    const float ab = dot(a, b);
    const float bb = dot(b, b);
    const float xa = dot(v, a);
    const float xb = dot(v, b);
    const float determinant = aa * bb - ab * ab;
    const State before = state;
    if (L.has_min && determinant > 1e-6f * aa * bb) {
      state.d = rounded((bb * xa - ab * xb) / determinant);
      state.dmin = rounded((aa * xb - ab * xa) / determinant);
    } else if (aa > 0.0f) {
      state.d = rounded((xa - state.dmin * ab) / aa);
    }
    return state.d != before.d || state.dmin != before.dmin;
  }

  EncodedSuperBlock encoded(const State& state) const {
    EncodedSuperBlock block;
    block.factors.d = state.d * samples_.unit;
    block.factors.dmin = state.dmin * samples_.unit;
    for (int g = 0; g < kGroups; ++g) {
      block.factors.factors[g] = static_cast<int8_t>(state.factors[g]);
      block.factors.min_factors[g] = static_cast<int8_t>(state.min_factors[g]);
    }
    for (int k = 0; k < 256; ++k) block.codes[k] = static_cast<int8_t>(state.q[k]);
    return block;
  }

  Samples<256> samples_;
  Fit ideal_[kGroups];
  State start_;
};

}  // namespace dunlin

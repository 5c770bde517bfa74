// The arithmetic of docs/decisions/0002-numerics.md as plain loops: what every kernel must equal,
// bit for bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/float16.h"
#include "base/scalar_math.h"

namespace dunlin::reference {

inline float bf16(float x) {
  return to_float(to_bfloat16(x));
}

// x and w of n elements; a last block of fewer than 32 is filled with zeros.
inline float chain(const float* x, const float* w, int64_t n) {
  float c = 0.0f;
  for (int64_t k = 0; k < n; k += 32) {
    float even = 0.0f;
    float odd = 0.0f;
    for (int64_t j = 0; j < 32; j += 2) {
      even = std::fma(k + j < n ? x[k + j] : 0.0f, k + j < n ? w[k + j] : 0.0f, even);
      odd = std::fma(k + j + 1 < n ? x[k + j + 1] : 0.0f, k + j + 1 < n ? w[k + j + 1] : 0.0f, odd);
    }
    c = c + (even + odd);
  }
  return c;
}

inline float fold(float* lane) {
  for (int s = 8; s >= 1; s /= 2) {
    for (int i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

inline float lanes(const std::vector<float>& v) {
  float lane[16] = {};
  for (size_t i = 0; i < v.size(); ++i) lane[i % 16] = lane[i % 16] + v[i];
  return fold(lane);
}

inline float lanes_of_squares(const float* x, int64_t n) {
  float lane[16] = {};
  for (int64_t i = 0; i < n; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
  return fold(lane);
}

// A quantised matrix: value[k] = scale * code + min.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t group = 0;       // 0: floats
  int64_t code_group = 0;  // of codes and scales, which mxfp4 has beside its values; 0: none
  bool has_min = false;
  std::vector<float> values;  // floating-point formats
  std::vector<int8_t> codes;
  std::vector<float> scales;  // [rows][columns / code_group]
  std::vector<float> mins;

  float value(int64_t row, int64_t k) const {
    if (group == 0) return values[static_cast<size_t>(row * columns + k)];
    const size_t at = static_cast<size_t>((row * columns + k) / group);
    const float product =
        scales[at] * static_cast<float>(codes[static_cast<size_t>(row * columns + k)]);
    return has_min ? product + mins[at] : product;
  }
};

inline float linear_f32(const float* x, const Matrix& w, int64_t row) {
  std::vector<float> weights(static_cast<size_t>(w.columns));
  for (int64_t k = 0; k < w.columns; ++k) weights[static_cast<size_t>(k)] = w.value(row, k);
  return chain(x, weights.data(), w.columns);
}

inline float linear_bf16(const float* x, const Matrix& w, int64_t row) {
  std::vector<float> weights(static_cast<size_t>(w.columns));
  std::vector<float> inputs(static_cast<size_t>(w.columns));
  for (int64_t k = 0; k < w.columns; ++k) {
    weights[static_cast<size_t>(k)] = bf16(w.value(row, k));
    inputs[static_cast<size_t>(k)] = bf16(x[k]);
  }
  return chain(inputs.data(), weights.data(), w.columns);
}

struct QuantisedRow {
  std::vector<int32_t> codes;
  std::vector<float> scales;  // per 32
};

inline QuantisedRow quantise(const float* x, int64_t n) {
  QuantisedRow row;
  for (int64_t k = 0; k < n; k += 32) {
    float amax = 0.0f;
    for (int64_t i = k; i < k + 32; ++i) amax = std::max(amax, std::fabs(x[i]));
    const bool tiny = amax < 0x1p-100f;
    row.scales.push_back(tiny ? 0.0f : amax / 127.0f);
    for (int64_t i = k; i < k + 32; ++i) {
      row.codes.push_back(tiny ? 0 : static_cast<int32_t>(std::nearbyintf(x[i] * (127.0f / amax))));
    }
  }
  return row;
}

inline float linear_int8(const QuantisedRow& x, const Matrix& w, int64_t row) {
  float acc = 0.0f;
  for (int64_t g = 0; g < w.columns / w.code_group; ++g) {
    int32_t dot = 0;
    int32_t sum = 0;
    for (int64_t k = g * w.code_group; k < (g + 1) * w.code_group; ++k) {
      dot += x.codes[static_cast<size_t>(k)] * w.codes[static_cast<size_t>(row * w.columns + k)];
      sum += x.codes[static_cast<size_t>(k)];
    }
    const size_t at = static_cast<size_t>(row * (w.columns / w.code_group) + g);
    const float scale = x.scales[static_cast<size_t>(g * w.code_group / 32)];
    acc = std::fma(static_cast<float>(dot), w.scales[at] * scale, acc);
    if (w.has_min) acc = std::fma(static_cast<float>(sum), w.mins[at] * scale, acc);
  }
  return acc;
}

// The n numbers of a key or value, or of a whole row, become codes, as whole numbers. Returns their
// scale.
inline float quantise_all(float* x, int64_t n) {
  float amax = 0.0f;
  bool finite = true;
  for (int64_t d = 0; d < n; ++d) {
    finite = finite && std::isfinite(x[d]);
    amax = std::max(amax, std::fabs(x[d]));
  }
  const bool zero = !finite || amax < 0x1p-100f;
  for (int64_t d = 0; d < n; ++d) x[d] = zero ? 0.0f : std::nearbyint(x[d] * (127.0f / amax));
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return zero ? 0.0f : amax / 127.0f;
}

inline float linear_int8wide(const float* x, const Matrix& w, int64_t row) {
  std::vector<float> inputs(x, x + w.columns);
  std::vector<float> weights;
  for (int64_t k = 0; k < w.columns; ++k) weights.push_back(w.value(row, k));
  const float scale = quantise_all(inputs.data(), w.columns);
  const float weight_scale = quantise_all(weights.data(), w.columns);
  int32_t sum = 0;
  for (size_t k = 0; k < inputs.size(); ++k)
    sum += static_cast<int32_t>(inputs[k]) * static_cast<int32_t>(weights[k]);
  return std::fma(static_cast<float>(sum), weight_scale * scale, 0.0f);
}

// Keys and values of one kv head, as stored: [position][head_dim].
struct Cache {
  int64_t head_dim = 0;
  int64_t length = 0;
  std::vector<float> k;
  std::vector<float> v;
  std::vector<bool> page_there;
  std::vector<float> k_scales;  // [position], of codes; otherwise empty
  std::vector<float> v_scales;

  void quantise() {
    for (int64_t u = 0; u < length; ++u) {
      k_scales.push_back(quantise_all(k.data() + u * head_dim, head_dim));
      v_scales.push_back(quantise_all(v.data() + u * head_dim, head_dim));
    }
  }
};

struct AttentionQuery {
  int64_t position = 0;
  bool causal = true;
  int64_t window = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  const float* sink = nullptr;
  bool round = true;  // storage type bf16 or int8
};

inline std::vector<float> attention(const std::vector<float>& query, const Cache& cache,
                                    const AttentionQuery& args) {
  const int64_t h = cache.head_dim;
  std::vector<float> q = query;
  if (args.round) {
    for (float& x : q) x = bf16(x);
  }
  float m = args.sink != nullptr ? *args.sink : -std::numeric_limits<float>::infinity();
  float l = args.sink != nullptr ? 1.0f : 0.0f;
  std::vector<float> o(static_cast<size_t>(h));
  for (int64_t base = 0; base < cache.length; base += 256) {
    std::vector<bool> visible(256);
    std::vector<float> score(256);
    float m_s = -std::numeric_limits<float>::infinity();
    bool any = false;
    for (int64_t i = 0; i < 256; ++i) {
      const int64_t u = base + i;
      if (u >= cache.length || !cache.page_there[static_cast<size_t>(u / 16)]) continue;
      if (args.causal && u > args.position) continue;
      if (args.window > 0 && u <= args.position - args.window) continue;
      const size_t at = static_cast<size_t>(i);
      visible[at] = true;
      any = true;
      score[at] = chain(q.data(), cache.k.data() + u * h, h);
      if (!cache.k_scales.empty()) score[at] *= cache.k_scales[static_cast<size_t>(u)];
      score[at] *= args.scale;
      if (args.softcap != 0.0f) score[at] = args.softcap * tanh_f32(score[at] / args.softcap);
      m_s = std::max(m_s, score[at]);
    }
    if (!any) continue;
    std::vector<float> p(256);
    for (size_t i = 0; i < 256; ++i) p[i] = visible[i] ? exp_f32(score[i] - m_s) : 0.0f;
    const float l_s = lanes(p);
    const float next = std::max(m, m_s);
    const float a = exp_f32(m - next);
    const float b = exp_f32(m_s - next);
    l = std::fma(l_s, b, l * a);
    for (int64_t d = 0; d < h; ++d) {
      std::vector<float> weights(256);
      std::vector<float> column(256);
      for (size_t i = 0; i < 256; ++i) {
        if (!visible[i]) continue;
        weights[i] = p[i];
        if (!cache.v_scales.empty()) weights[i] *= cache.v_scales[static_cast<size_t>(base) + i];
        if (args.round) weights[i] = bf16(weights[i]);
        column[i] = cache.v[static_cast<size_t>((base + static_cast<int64_t>(i)) * h + d)];
      }
      const float o_s = chain(weights.data(), column.data(), 256);
      o[static_cast<size_t>(d)] = std::fma(o_s, b, o[static_cast<size_t>(d)] * a);
    }
    m = next;
  }
  const float inverse = 1.0f / l;
  for (float& x : o) x = x * inverse;
  return o;
}

}  // namespace dunlin::reference

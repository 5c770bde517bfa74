// Row and element operations of docs/decisions/0002-numerics.md: norm, rotary embedding and
// activations.
#include <algorithm>
#include <cmath>

#include "backend/reference/scalar.h"
#include "base/scalar_math.h"

namespace dunlin::reference {

void rms_norm(const float* x, const float* weight, int64_t width, float eps, float* y) {
  const float squares = lane_sum_of_squares(x, width);
  const float mean = squares / static_cast<float>(width);
  const float r = 1.0f / std::sqrt(mean + eps);
  for (int64_t i = 0; i < width; ++i) y[i] = (x[i] * r) * weight[i];
}

void rope_angles(int32_t position, const RopeAnglesAttributes& attributes, float* angles) {
  for (size_t i = 0; i < attributes.inv_freq.size(); ++i) {
    CosSin turn = cos_sin_f32(static_cast<float>(position) * attributes.inv_freq[i]);
    if (attributes.scale != 1.0f) {
      turn.cos = turn.cos * attributes.scale;
      turn.sin = turn.sin * attributes.scale;
    }
    angles[2 * i] = turn.cos;
    angles[2 * i + 1] = turn.sin;
  }
}

void rope(const float* x, const float* angles, int64_t head_dim, int64_t rotary_dim, float* y) {
  const int64_t half = rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const int64_t j = i + half;
    const float cos = angles[2 * i];
    const float sin = angles[2 * i + 1];
    const float first = std::fma(x[i], cos, -(x[j] * sin));
    const float second = std::fma(x[j], cos, x[i] * sin);
    y[i] = first;
    y[j] = second;
  }
  std::copy(x + rotary_dim, x + head_dim, y + rotary_dim);
}

float gelu_tanh(float x) {
  const float cube = x * x * x;
  const float inner = x + 0.044715f * cube;
  return x * sigmoid_f32(1.5957691f * inner);
}

float softcap(float x, float cap) {
  return cap * tanh_f32(x / cap);
}

float act(ActAttributes::Kind kind, float x) {
  switch (kind) {
    case ActAttributes::Kind::silu:
      return silu_f32(x);
    case ActAttributes::Kind::gelu_tanh:
      return gelu_tanh(x);
    case ActAttributes::Kind::sigmoid:
      break;
  }
  return sigmoid_f32(x);
}

float gated(const GatedAttributes& attributes, float gate, float up) {
  if (attributes.kind == GateKind::silu) return silu_f32(gate) * up;
  if (attributes.kind == GateKind::gelu_tanh) return gelu_tanh(gate) * up;
  const float limit = attributes.limit;
  const float g = std::min(gate, limit);
  const float u = std::min(std::max(up, -limit), limit);
  const float activated = g * sigmoid_f32(attributes.alpha * g);
  return (u + 1.0f) * activated;
}

}  // namespace dunlin::reference

// Small recordings with the structure of real models, for tests of Programs and of back ends. All
// widths are multiples of 32, so that every block format can hold the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "program/recorder.h"

namespace dunlin {

// GPT-OSS: windowed layers at even numbers, sinks, biases everywhere, a router over experts with
// the clamped gate, YaRN angles. Heads times head width differ from the width, as in the model.
struct GptOssSizes {
  int64_t layers = 2;
  int64_t vocab = 96;
  int64_t width = 64;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 32;
  int64_t ffn = 32;
  int64_t experts = 4;
  int64_t experts_per_token = 2;
  int64_t window = 5;
  float eps = 1e-5f;
  double rope_theta = 150000.0;
  double yarn_factor = 32.0;
  double yarn_original_positions = 4096.0;
  double yarn_beta_fast = 32.0;
  double yarn_beta_slow = 1.0;
};

// Outputs "logits" [R,V]; taps q.{i}, k.{i}, v.{i}, attn_out.{i}, mlp_out.{i} and hidden.{i}.
// Weights have the names of the Hugging Face checkpoint, experts split into gate_proj, up_proj and
// down_proj.
void record_gpt_oss(Recorder& recorder, const GptOssSizes& sizes);

// Dream: the Qwen2 block (biases on q, k and v) under a full mask.
struct DreamSizes {
  int64_t layers = 2;
  int64_t vocab = 96;
  int64_t width = 64;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 16;
  int64_t ffn = 96;
  float eps = 1e-6f;
  double rope_theta = 1000000.0;
};

// The same outputs and taps.
void record_dream(Recorder& recorder, const DreamSizes& sizes);

// theta^(-2i/h), i = 0..h/2-1.
std::vector<float> rope_frequencies(double theta, int64_t head_dim);

// YaRN (Peng et al. 2023) without truncation of the correction range, as GPT-OSS uses it.
std::vector<float> yarn_frequencies(const GptOssSizes& sizes);
float yarn_scale(double factor);  // of cos and sin: 0.1 ln(factor) + 1

}  // namespace dunlin

// The arithmetic of docs/decisions/0002-numerics.md as one readable function per operation: what
// every kernel is compared with, bit for bit. Plain pointers and sizes; the caller holds
// flush-to-zero (base/thread_pool.h). T rows, K columns of a weight, h head width, V vocabulary.
#pragma once

#include <cstdint>
#include <span>

#include "program/attributes.h"

namespace dunlin::reference {

// ---- sums (scalar_sums.cpp)

// chain(x, w, K): per 32 k an even and an odd chain of fused multiply-adds from 0, c += even + odd.
float chain_dot(const float* x, const float* w, int64_t count);

// The same for `width` columns at once: y[i] = chain over k in [begin, end) of x[k] * w[k * width +
// i]. Blocks of 32 start at multiples of 32 of k itself; begin may lie inside one (the k before it
// are zeros).
void chain_dot_columns(const float* x, const float* w, int64_t begin, int64_t end, int64_t width,
                       float* y);

// lanes(v, N): lane i adds v[i], v[i + 16], ...; then the tree 8, 4, 2, 1.
float lane_sum(const float* values, int64_t count);
float lane_sum_of_squares(const float* values, int64_t count);  // lane = fma(v, v, lane)

float round_to_bf16(float value);

// ---- linear (scalar_linear.cpp)

inline constexpr int64_t kActivationGroup = 32;  // k that share an activation scale

// q and s of `count` values: s = max |x| / 127, q = round_half_even(x * (127 / max |x|)); s = q = 0
// where max |x| < 2^-100; s = NaN, so that a sum is, and q = 0 where an x is not finite. Returns s.
float quantize_group(const float* x, int64_t count, int8_t* codes);

// The same of every `group` k. codes[K], scales[K / group]; K is a multiple of the group.
void quantize_activations(const float* x, int64_t columns, int8_t* codes, float* scales,
                          int64_t group = kActivationGroup);

// One row of an integer weight: codes[K], scales[K / group], mins[K / group] or null.
struct IntegerRow {
  const int8_t* codes;
  const float* scales;
  const float* mins;
  int64_t group;
};

// Groups ascending: acc = fma(sum q * code, ws * s, acc), then with a minimum acc = fma(sum q, wm *
// s, acc). A group of all K, as int8wide has it, needs one activation scale and K <= kMostWideColumns;
// of smaller ones every kActivationGroup k have theirs.
float int8_dot(const int8_t* activation_codes, const float* activation_scales,
               const IntegerRow& weight, int64_t columns);

// ---- rows and elements (scalar_rows.cpp)

// y = (x * r) * w, r = 1 / sqrt(sum x^2 / N + eps).
void rms_norm(const float* x, const float* weight, int64_t width, float eps, float* y);

// angles[i] = (cos a, sin a) * scale, a = float(position) * inv_freq[i].
void rope_angles(int32_t position, const RopeAnglesAttributes& attributes, float* angles);

// One head: pairs (i, i + rotary_dim / 2) turn by angles[i]; dimensions from rotary_dim on are
// copied.
void rope(const float* x, const float* angles, int64_t head_dim, int64_t rotary_dim, float* y);

float gelu_tanh(float x);           // x * sigmoid(1.5957691 * (x + 0.044715 x^3))
float softcap(float x, float cap);  // cap * tanh(x / cap)
float act(ActAttributes::Kind kind, float x);
float gated(const GatedAttributes& attributes, float gate, float up);

// ---- attention (scalar_attention.cpp)

inline constexpr int64_t kSplitPositions = 256;  // positions per split

// Keys and values of one sequence and kv head, indexed by position and already rounded to the
// storage type: rows of `head_dim` at keys + u * head_dim. Positions with present[u] == 0 hold
// zeros. `length` is a multiple of kSplitPositions. With scales, one for each position, keys and
// values are codes; without both are null.
struct KeyValues {
  const float* keys;
  const float* values;
  const uint8_t* present;
  int64_t length;
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
};

// One query row and head at `position`: y[head_dim] = softmax over the visible keys times their
// values. `sink` is the logit that joins the denominator, or null; `round_bf16` rounds q and what the
// values are weighed with (a probability, times the value's scale) to bf16.
void attention(const float* q, int32_t position, const KeyValues& cache, int64_t head_dim,
               const AttentionAttributes& attributes, const float* sink, bool round_bf16, float* y);

// ---- mixture of experts (scalar_experts.cpp)

// The k chosen experts of one row by descending logit, ties to the lowest id, and their weights.
// softmax over the chosen: exp(l_j - l_0) / sum in ascending j; softmax first: exp(l_j - l_0) /
// lanes over all experts.
void route(const float* logits, int64_t expert_count, const RouteAttributes& attributes,
           int32_t* experts, float* weights);

// ---- logits (scalar_logits.cpp)

struct LogitStatistics {
  float lse;              // log-sum-exp
  float lse_temperature;  // of the logits divided by the row's temperature (<= 0: undivided)
  float entropy;          // nats
  float varentropy;       // nats squared
  bool finite;            // no NaN, no +infinity, and some logit above -infinity
};
LogitStatistics logit_statistics(const float* logits, int64_t vocabulary, float temperature);

// The k largest by descending logit, ties by lowest id; a NaN counts as -infinity.
void top_k(const float* values, int64_t count, int64_t k, int32_t* ids, float* best);

// Inverse CDF over the candidates in their order: the first j with u < sum of p_i, i <= j, where
// p_i = exp(l_i / temperature - lse_temperature); -1 when u exceeds their mass, the first candidate
// when temperature <= 0.
int32_t sample(std::span<const int32_t> ids, std::span<const float> logits, float lse_temperature,
               float temperature, float random);

}  // namespace dunlin::reference

// Typed attributes of the Program's operations; the operations' meaning is in ops.h.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "tensor/dtype.h"

namespace dunlin {

struct NoAttributes {};

struct EmbedAttributes {
  float scale = 1.0f;
};

struct RmsNormAttributes {
  float eps = 1e-6f;
  bool cast_before_weight =
      true;  // below float32: the normalised x is cast before w multiplies (Llama), or after
};

struct RopeAnglesAttributes {
  std::vector<float> inv_freq;  // [h / 2], radians per position
  float scale = 1.0f;           // of cos and sin (YaRN's attention factor)
};

struct RopeAttributes {
  int64_t rotary_dim = 0;  // the first rotary_dim of h are rotated, pairs (i, i + rotary_dim / 2)
};

enum class MaskKind : uint8_t { causal, full };

struct AttentionAttributes {
  MaskKind mask = MaskKind::causal;
  int64_t window = 0;  // > 0: only positions u > t - window are visible
  float scale = 1.0f;
  float softcap = 0.0f;  // > 0: scores become softcap * tanh(score / softcap)
  bool has_sinks = false;
  bool stateful = true;  // keys and values go through the KV cache; false: rows of the same
                         // sequence in this step
  int32_t group = 0;     // KV group (layers with one retention rule)
  int32_t layer = 0;     // index within the group
};

enum class GateKind : uint8_t { silu, gelu_tanh, oai };

struct GatedAttributes {
  GateKind kind = GateKind::silu;
  float alpha = 1.702f;       // oai only
  float limit = 7.0f;         // oai only
  bool keeps_hidden = false;  // experts only: what the down projections multiply is a result too
};

struct RouteAttributes {
  int64_t k = 1;
  bool softmax_first =
      false;  // true: softmax over all experts, then top k; false: softmax over the chosen k
};

struct ActAttributes {
  enum class Kind : uint8_t { silu, gelu_tanh, sigmoid } kind = Kind::silu;
};

struct SoftcapAttributes {
  float cap = 0.0f;
};

struct PoolAttributes {
  enum class Kind : uint8_t { last, mean } kind = Kind::last;
};

struct LogitsViewAttributes {
  int64_t k = 0;  // candidates per row
};

struct TapAttributes {
  std::string name;  // "hidden.3"
};

struct SliceAttributes {
  int64_t axis = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t stride = 1;
};

struct AxisAttributes {  // concat, cumsum, gather, scatter_add, top_k
  int64_t axis = 0;
  int64_t k = 0;  // top_k only
};

struct ReduceAttributes {
  enum class Kind : uint8_t { sum, max } kind = Kind::sum;
  int64_t axis = 0;
};

struct ConstAttributes {
  std::vector<double> values;  // row-major, or one value for the whole result
};

struct PermutationAttributes {
  std::vector<int64_t> axes;  // result axis i is operand axis axes[i]
};

struct PadAttributes {
  int64_t axis = 0;
  int64_t before = 0;
  int64_t after = 0;
  double value = 0.0;
};

// Sums over the contracted axes; the result is [batch..., free of the left..., free of the
// right...].
struct DotAttributes {
  std::vector<int64_t> batch_left, batch_right;
  std::vector<int64_t> contract_left, contract_right;
};

enum class CompareKind : uint8_t { eq, ne, lt, le, gt, ge };
struct CompareAttributes {
  CompareKind kind = CompareKind::eq;
};

enum class UnaryKind : uint8_t { neg, exp, log, sqrt, sin, cos, abs, logical_not };
struct UnaryAttributes {
  UnaryKind kind = UnaryKind::neg;
};

enum class BinaryKind : uint8_t {
  sub,
  div,
  max,
  min,
  logical_and,
  logical_or,
  shift_left,
  shift_right
};
struct BinaryAttributes {
  BinaryKind kind = BinaryKind::sub;
};

struct ConvertAttributes {
  DType to = DType::f32;
};

struct StateAttributes {  // state_write, state_read
  int32_t group = 0;
  int32_t layer = 0;
};

using Attributes =
    std::variant<NoAttributes, EmbedAttributes, RmsNormAttributes, RopeAnglesAttributes,
                 RopeAttributes, AttentionAttributes, GatedAttributes, RouteAttributes,
                 ActAttributes, SoftcapAttributes, PoolAttributes, LogitsViewAttributes,
                 TapAttributes, SliceAttributes, AxisAttributes, ReduceAttributes, ConstAttributes,
                 PermutationAttributes, PadAttributes, DotAttributes, CompareAttributes,
                 UnaryAttributes, BinaryAttributes, ConvertAttributes, StateAttributes>;

}  // namespace dunlin

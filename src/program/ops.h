// The operations a model records. T rows, R logit rows, S sequences; D width, H query heads, K kv
// heads, h head width, F ffn width, E experts, V vocabulary. A wrong operand throws ProgramError at
// the caller's line (see recorder.h). Arithmetic and order of sums:
// docs/decisions/0002-numerics.md.
#pragma once

#include <source_location>
#include <string>
#include <vector>

#include "program/recorder.h"

namespace dunlin {

#define DUNLIN_HERE std::source_location where = std::source_location::current()

Tensor embed(Tensor ids, Tensor weight, float scale = 1.0f, DUNLIN_HERE);  // [T], [V,D] -> [T,D]
Tensor linear(Tensor x, Tensor weight, DUNLIN_HERE);               // [..,I], [O,I] -> [..,O]
Tensor linear(Tensor x, Tensor weight, Tensor bias, DUNLIN_HERE);  // bias [O]; undefined: none
Tensor rms_norm(Tensor x, Tensor weight, RmsNormAttributes attributes,
                DUNLIN_HERE);  // [..,N], [N] -> [..,N]
Tensor rope_angles(Tensor positions, RopeAnglesAttributes attributes,
                   DUNLIN_HERE);                                               // [T] -> [T,h/2,2]
Tensor rope(Tensor x, Tensor angles, RopeAttributes attributes, DUNLIN_HERE);  // [T,n,h] -> [T,n,h]

// q [T,H,h], k and v [T,K,h], sinks [H] or undefined -> [T,H,h]. Query head a reads kv head
// a / (H / K). Stateful: writes k and v at (sequence, position), then attends every visible slot of
// the row's sequence. In a recording without state (RecordOptions) no attention is stateful.
Tensor attention(Tensor q, Tensor k, Tensor v, Tensor sinks, AttentionAttributes attributes,
                 DUNLIN_HERE);

Tensor gated(Tensor gate, Tensor up, GatedAttributes attributes,
             DUNLIN_HERE);  // [..,F] twice -> [..,F]
struct Routes {
  Tensor experts;  // i32 [T,k], by descending weight
  Tensor weights;  // f32 [T,k]
};
Routes route(Tensor x, Tensor weight, Tensor bias, RouteAttributes attributes,
             DUNLIN_HERE);  // [T,D], [E,D], [E]?
struct ExpertWeights {
  Tensor gate, up;                       // [E,F,D]
  Tensor down;                           // [E,D,F]
  Tensor gate_bias, up_bias, down_bias;  // [E,F], [E,F], [E,D]; all three or none
};
Tensor experts(Tensor x, Routes routes, ExpertWeights weights, GatedAttributes attributes,
               DUNLIN_HERE);  // -> [T,D]
Tensor softcap(Tensor x, float cap, DUNLIN_HERE);
Tensor act(Tensor x, ActAttributes::Kind kind, DUNLIN_HERE);
Tensor gather_rows(Tensor x, Tensor rows, DUNLIN_HERE);         // [T,..], [R] -> [R,..]
Tensor pool(Tensor x, PoolAttributes::Kind kind, DUNLIN_HERE);  // [T,D] -> [S,D]
struct LogitsViewTensors {
  Tensor statistics;  // f32 [R,5]: lse at temperature 1, lse at the row's, entropy, varentropy
                      // (nats), 1 when the row can be sampled: no NaN, no +infinity and a
                      // logit above -infinity (else the others mean nothing). Temperature 0
                      // counts as 1 here.
  Tensor ids;         // i32 [R,k], by descending logit
  Tensor logits;      // f32 [R,k]
};
LogitsViewTensors logits_view(Tensor logits, Tensor temperatures, int64_t k, DUNLIN_HERE);
// Inverse CDF over the candidates in descending probability at the row's temperature, u uniform in
// [0, 1): i32 [R]. Temperature 0: the first candidate. -1 where u is beyond the mass of the
// candidates and the whole row is needed.
Tensor sample(LogitsViewTensors view, Tensor temperatures, Tensor random, DUNLIN_HERE);
// Returns x. When the options ask for the name, a tap node also becomes an output.
Tensor tap(Tensor x, const std::string& name, DUNLIN_HERE);
Tensor tap(Tensor x, const std::string& name, int64_t layer, DUNLIN_HERE);  // name.layer

// Elementwise with broadcasting of trailing dimensions.
Tensor add(Tensor a, Tensor b, DUNLIN_HERE);
Tensor mul(Tensor a, Tensor b, DUNLIN_HERE);

// The same elements under another shape: the same symbols in the same order, the same product of
// the known sizes. Slice and concat work on dimensions of known size.
Tensor reshape(Tensor x, Dims dims, DUNLIN_HERE);
Tensor slice(Tensor x, SliceAttributes attributes, DUNLIN_HERE);
Tensor concat(const std::vector<Tensor>& parts, int64_t axis, DUNLIN_HERE);

// Basic operations, for definitions. Operands of the elementwise ones have the same shape.
Tensor constant(Recorder& recorder, Dims dims, std::vector<double> values, DType dtype,
                DUNLIN_HERE);
Tensor iota(Recorder& recorder, Dims dims, int64_t axis, DType dtype, DUNLIN_HERE);
Tensor convert(Tensor x, DType to, DUNLIN_HERE);
Tensor broadcast(Tensor x, Dims dims, DUNLIN_HERE);  // trailing dimensions align; size 1 repeats
Tensor transpose(Tensor x, std::vector<int64_t> axes, DUNLIN_HERE);
Tensor pad(Tensor x, PadAttributes attributes, DUNLIN_HERE);
Tensor reduce(Tensor x, ReduceAttributes::Kind kind, int64_t axis,
              DUNLIN_HERE);  // the axis disappears
Tensor dot(Tensor a, Tensor b, DotAttributes attributes, DUNLIN_HERE);
Tensor gather(Tensor x, Tensor indices, int64_t axis,
              DUNLIN_HERE);  // indices [I..] replace dimension `axis`
Tensor scatter_add(Tensor into, Tensor indices, Tensor updates,
                   DUNLIN_HERE);  // rows of dimension 0
Tensor select(Tensor condition, Tensor when_true, Tensor when_false, DUNLIN_HERE);
Tensor compare(Tensor a, Tensor b, CompareKind kind, DUNLIN_HERE);
struct TopK {
  Tensor values;   // [..,k], descending; ties by lowest index
  Tensor indices;  // i32 [..,k]
};
TopK top_k(Tensor x, int64_t k, DUNLIN_HERE);
Tensor cumsum(Tensor x, int64_t axis, DUNLIN_HERE);
Tensor unary(Tensor x, UnaryKind kind, DUNLIN_HERE);
Tensor binary(Tensor a, Tensor b, BinaryKind kind, DUNLIN_HERE);

void state_write(Tensor k, Tensor v, StateAttributes state, DUNLIN_HERE);
struct StateSlots {  // empty slots hold zeros
  Tensor k, v;       // f32 [S,C,K,h]
  Tensor positions;  // i32 [S,C], -1 where the slot is empty
};
StateSlots state_read(Recorder& recorder, StateAttributes state, DUNLIN_HERE);

#undef DUNLIN_HERE

// x + y and x * y of tensors, with the source line of the right operand.
struct Located {
  Tensor tensor;
  std::source_location where;
  Located(Tensor t, std::source_location here =
                        std::source_location::current())  // NOLINT(google-explicit-constructor)
      : tensor(t), where(here) {}
};
inline Tensor operator+(Tensor a, Located b) {
  return add(a, b.tensor, b.where);
}
inline Tensor operator*(Tensor a, Located b) {
  return mul(a, b.tensor, b.where);
}

}  // namespace dunlin

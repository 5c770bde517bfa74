// lower(): a Program, bound to the sizes of a bucket, as StableHLO text.
//
// Operations with a good form of their own are lowered directly; the others arrive expanded to
// their definitions in basic operations (program/definitions.h), which XLA fuses.
#pragma once

#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/bucket.h"
#include "backend/pjrt/element.h"

namespace dunlin::pjrt {

// A weight as one kind of operation reads it.
struct WeightUse {
  WeightId weight = 0;
  Element element = Element::f32;
  friend auto operator<=>(const WeightUse&, const WeightUse&) = default;
};

struct LoweringOptions {
  Precision precision = Precision::automatic;
  std::vector<Format> formats = {};  // of each weight of the Program
};

// The element type that `linear` and `experts` multiply a weight of this format in. The PJRT back
// end has no int8 arithmetic: `auto` computes as `exact` does.
Element matrix_element(Format format, Precision precision);
// The element type that `embed` reads rows of this format in: as stored, or decoded.
Element table_element(Format format);
Element kv_element(Precision precision);

// True for semantic operations that lower() takes as they are; the others must be expanded.
bool is_lowered_directly(Op op);

// What a Program reads of its weights, in the order of LoweredProgram.
std::vector<WeightUse> weight_uses(const Program& program, const LoweringOptions& options);

struct LoweredProgram {
  std::string text;
  // Arguments in order: these weights, the KV arrays (donated), the step's i32 array.
  std::vector<WeightUse> weights;
  std::vector<TensorType> state;  // by group and layer: keys, values
  TensorType step;
  // Results in order: the KV arrays, then the Program's outputs.
  std::vector<TensorType> outputs;
};

// The KV arrays of a Program in a bucket: keys and values of each layer of each group.
std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    Element element);

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options);

// A program that copies page `from` over page `to` in every array of a group: arguments are the
// arrays (donated) and an i32 array {from slot, from position, to slot, to position}.
std::string lower_page_copy(const std::vector<TensorType>& arrays);

}  // namespace dunlin::pjrt

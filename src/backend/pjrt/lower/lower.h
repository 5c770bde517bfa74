// lower(): a Program, bound to the sizes of a bucket, as StableHLO text.
//
// Operations with a good form of their own are lowered directly; the others arrive expanded to
// their definitions in basic operations (program/definitions.h), which XLA fuses.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/packed_forms.h"
#include "backend/pjrt/bucket.h"
#include "backend/pjrt/element.h"
#include "backend/pjrt/sharding/program_sharding.h"

namespace dunlin::pjrt {

// A weight as one kind of operation reads it: one array on a device, or those of its codes, scales and
// minimums.
struct WeightUse {
  WeightId weight = 0;
  DeviceForm form = {};
  friend auto operator<=>(const WeightUse&, const WeightUse&) = default;
};

struct LoweringOptions {
  Precision precision = Precision::automatic;
  std::vector<Format> formats = {};  // of each weight of the Program
  Platform platform = Platform::other;
  // For the devices of a mesh; null: for one device. A bucket is then one part of the batch.
  std::shared_ptr<const ProgramSharding> sharding = nullptr;
};

Element kv_element(Precision precision);

// True for semantic operations that lower() takes as they are; the others must be expanded. On a mesh
// the logits view is one: its parts are put together on the devices.
bool is_lowered_directly(Op op, bool on_mesh = false);

// What a Program reads of its weights, in the order of LoweredProgram.
std::vector<WeightUse> weight_uses(const Program& program, const LoweringOptions& options);
// Of the operations that read matrices in a form of their own, the forms that these are in: "i4 in
// groups of 32, f32".
std::map<Op, std::string> forms_of_operations(const Program& program,
                                              const LoweringOptions& options);
// One line for people where matrices take more memory than in their file, because no packed form of
// their formats passes on the platform; else empty.
std::string widening_note(const Program& program, const LoweringOptions& options);

// Types are those of a device's parts.
struct LoweredProgram {
  std::string text;
  // Arguments in order: the arrays of these weights, on a mesh the device's place (place_type()), the
  // KV arrays (donated), the step's i32 array, of which each part of the batch has another.
  std::vector<WeightUse> weights;
  std::vector<TensorType> state;  // by group and layer: keys, values
  TensorType step;
  // Results in order: the KV arrays, then the Program's outputs; of a loop one i32 array [steps,T] of
  // chosen ids.
  std::vector<TensorType> outputs;
  // Of each output the mesh axes that split its last dimension; none: it is whole.
  std::vector<std::vector<MeshAxis>> output_axes;
};

// The arrays that a use of a weight reads: values or codes, then scales and minimums where the form has
// them. On a mesh those of a device.
std::vector<TensorType> weight_types(const Program& program, const WeightUse& use,
                                     const ProgramSharding* sharding = nullptr);
int64_t weight_bytes(const Program& program, const WeightUse& use,
                     const ProgramSharding* sharding = nullptr);  // of a device
Element element_of(CodeType code);

// i32: a device's place on every axis, by MeshAxis.
TensorType place_type();

// The KV arrays of a Program in a bucket: keys and values of each layer of each group.
std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    Element element, const ProgramSharding* sharding = nullptr);

// In place of an id that a row chose in a step of a loop.
inline constexpr int32_t kNoStep = -1;     // it took no part
inline constexpr int32_t kNotFinite = -2;  // its logits are not to be sampled

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options);

// A program that copies a page over another in every array of a group: arguments are the arrays
// (donated) and an i32 array {from slot, from position, to slot, to position}.
std::string lower_page_copy(const std::vector<TensorType>& arrays);

// The same on a mesh, from any part of the batch to any other. The i32 array, of which each part of
// the batch has another, is {from slot, from position, to slot, to position, part that has the page,
// 1 where it goes to and 0 elsewhere}.
inline constexpr int64_t kPageCopyNumbers = 6;
std::string lower_page_copy(const std::vector<TensorType>& arrays, const ProgramSharding& sharding,
                            int32_t group);

}  // namespace dunlin::pjrt

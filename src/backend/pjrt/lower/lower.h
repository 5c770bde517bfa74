// lower(): a Program, bound to the sizes of a bucket, as StableHLO text.
//
// Operations with a good form of their own are lowered directly; the others arrive expanded to
// their definitions in basic operations (program/definitions.h), which XLA fuses.
#pragma once

#include <map>
#include <memory>
#include <optional>
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
  // Every program that takes or makes KV arrays says how they lie (kv_attributes()). False: for a
  // plug-in whose compiler does not take that (layout_probe.h).
  bool pins_layout = true;
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
  std::vector<TensorType> state;  // by group and layer (state_types())
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

// ---- the KV arrays (kv_arrays.cpp)
// Whether the key and the value of a head lie side by side, in one array [slots, kv heads, positions,
// 2 head width] of each layer: on TPUs, where both fit the 128 lanes of a row. An array of rows of 64
// would take twice its bytes there, or lie position by position in the lanes, where a step cannot
// write it: XLA would copy it to and fro. XLA for CPU has the same, so that tests run it.
bool keys_beside_values(int64_t head_dim, Platform platform);
// Arrays of all layers of a group: one or two of each, keys before values.
int64_t arrays_of_group(const KvGroup& group, Platform platform);
// Of each layer of each group, in a bucket; on a mesh of a device.
std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    const LoweringOptions& options);
// What is said of such an array where it is an argument that result `alias` takes the place of, and
// where it is a result: row-major, in all programs that share it. Empty: nothing.
std::string kv_attributes(const TensorType& type, const LoweringOptions& options,
                          std::optional<size_t> alias = {});
// Of the first results of a program that gives these arrays.
std::vector<std::string> kv_attributes(const std::vector<TensorType>& types,
                                       const LoweringOptions& options);
// StableHLO text of an array of zeros; on a mesh of an array of `group` on every device, from the
// device's place (place_type()), which nothing is made of: a program for devices has an argument.
std::string zeros_text(const TensorType& type, const LoweringOptions& options, int32_t group = 0);

// In place of an id that a row chose in a step of a loop.
inline constexpr int32_t kNoStep = -1;     // it took no part
inline constexpr int32_t kNotFinite = -2;  // its logits are not to be sampled

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options);

// A program that copies a page over another in every array of a group: arguments are the arrays
// (donated) and an i32 array {from slot, from position, to slot, to position}. On a mesh from any part
// of the batch to any other: the i32 array, of which each part of the batch has another, is {from slot,
// from position, to slot, to position, part that has the page, 1 where it goes to and 0 elsewhere}.
inline constexpr int64_t kPageCopyNumbers = 6;
std::string lower_page_copy(const std::vector<TensorType>& arrays, const LoweringOptions& options,
                            int32_t group = 0);

// A program that puts zeros into places of a slot in every array of a group: arguments are the arrays
// (donated) and an i32 array {slot, first place, places, 1 in the part of the batch that has the slot
// and 0 elsewhere}, of which each part of the batch has another. Places go around the end.
inline constexpr int64_t kPlaceClearNumbers = 4;
std::string lower_place_clear(const std::vector<TensorType>& arrays, const LoweringOptions& options,
                              int32_t group = 0);

}  // namespace dunlin::pjrt

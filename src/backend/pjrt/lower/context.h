// What the lowering functions share: the values so far, the step's inputs, weights and state.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/sharding/grid.h"
#include "backend/pjrt/stablehlo/builder.h"

namespace dunlin::pjrt {

// A weight, or the part of it that an operation reads at a time, in a form of packed_forms.h.
struct DeviceWeight {
  DeviceForm form = {};
  Var codes = {};   // or values
  Var scales = {};  // no name where the form has none
  Var minimums = {};

  int64_t outputs() const;  // of a matrix or of each of a stack: what it makes of a row
};

// The KV arrays of a layer as they are at this point of the program: one of keys and one of values
// [slots,K,positions,h], or a single one [slots,K,positions,2h] (keys_beside_values()).
struct LayerState {
  Vars arrays;

  bool together() const { return arrays.size() == 1; }
  const Var& keys() const { return arrays.front(); }   // the first h of each row
  const Var& values() const { return arrays.back(); }  // the last h
};

// Rows [first_row, first_row + sequences * rows_each) of the step.
struct SegmentRows {
  BucketSegment shape;
  int64_t first_row = 0;
  int64_t first_sequence = 0;
};

// What a step of a loop computes, in place of what the step array has. Rows that have come to their end
// are like padding.
struct LoopRows {
  Var tokens, positions;  // i32 [T]
  Var sequences;          // i32 [T]: negative for padding
  Var counts;             // i32 [S]: 0 for padding
  Var lengths;            // i32 [S]
};

// What the step array says of a loop.
struct LoopInputs {
  Var steps;      // i32
  Var row_steps;  // i32 [T]
  Var stop_ids;   // i32 [T,kStopIdsOfRow]
};

class LoweringContext {
 public:
  LoweringContext(const Program& program, const Bucket& bucket, const LoweringOptions& options);

  Builder b;
  const Program& program;
  const Bucket& bucket;
  const LoweringOptions& options;

  TensorType type_of(ValueId id) const;  // on a mesh: of a device's part
  // A value as it was computed; a weight is converted to float32.
  Var value(ValueId id);
  Var operand(const Node& node, size_t i);  // as the node takes it
  Var output(size_t i);                     // as it leaves the device
  // As declare_arguments() has it.
  const DeviceWeight& weight(ValueId id, const DeviceForm& form) const;
  const DeviceWeight& matrix(ValueId id) const;  // as `linear` and `experts` read it
  Format format_of(ValueId id) const;
  void set_value(ValueId id, const Var& value) { values_[static_cast<size_t>(id)] = value; }

  // ---- the step (step.cpp)
  Var value_of(InputKind kind) const;
  Var slots() const { return slots_; }            // i32 [S]
  Var row_counts() const { return row_counts_; }  // i32 [S]
  Var lengths() const { return lengths_; }        // i32 [S]
  // i32 [S, positions read]: the position that each place of the group holds, -1 where nothing is.
  Var place_positions(size_t group) const { return place_positions_[group]; }
  std::vector<SegmentRows> segments() const;
  Var at(const Var& list, int64_t index);              // a scalar of a list
  Var rows_of(const Var& x, const SegmentRows& rows);  // [T,..] -> those rows

  LayerState& state(int32_t group, int32_t layer);
  Vars state_results() const;

  // ---- loops
  LoopInputs loop_inputs();
  // From here on nodes are lowered for these rows.
  void set_rows(const LoopRows& rows);
  void set_state(const Vars& arrays);  // in the order of state_results()
  // From here on packed weights are those of this step of a loop, whose number it gives back: they do
  // not change, and a compiler would convert them once before the loop, to arrays as large as bf16.
  Var tie_packed_weights(const Var& number);

  // ---- on a mesh (exchange.cpp). For one device there are no axes, and nothing is exchanged.
  // The mesh axes that split a dimension of an operand as the node takes it.
  std::vector<MeshAxis> axes_of(const Node& node, size_t operand, size_t dim) const;
  std::vector<MeshAxis> output_axes(size_t i) const;  // of the last dimension
  std::vector<Splits> result_splits() const;
  int64_t places(const std::vector<MeshAxis>& axes) const;  // their product
  Var place(const std::vector<MeshAxis>& axes);             // i32: this device's, outermost first
  Var sum_over(const Var& x, const std::vector<MeshAxis>& axes);
  // Parts side by side along a dimension.
  Var gather_over(const Var& x, int64_t axis, const std::vector<MeshAxis>& axes);
  // The sum of all, of which this device keeps its part of the dimension.
  Var scatter_sum_over(const Var& x, int64_t axis, const std::vector<MeshAxis>& axes);

  // Arguments, in the order of LoweredProgram.
  void declare_arguments(const std::vector<WeightUse>& uses,
                         const std::vector<TensorType>& state_types);
  TensorType step_type() const { return step_.type; }

 private:
  bool on_mesh() const { return options.sharding != nullptr; }
  Shape bound(const Dims& dims) const;
  Var in_layout(ValueId id, const Layout& wanted);
  Var whole(Var x, const Layout& layout, const Shape& dims);
  Var part(Var x, const Layout& layout, const Shape& dims);
  Var step_input(InputKind kind);
  Var field(const StepLayout::Field& field, const Shape& dims);
  Var float_field(const StepLayout::Field& field);
  Var positions_of_places(size_t group);

  StepLayout layout_;
  std::vector<std::optional<Var>> values_;  // by ValueId
  Vars inputs_;                             // by InputKind
  std::map<WeightUse, DeviceWeight> weights_;
  Var place_;                                   // i32 by MeshAxis
  std::vector<std::vector<LayerState>> state_;  // by group and layer
  Var step_, slots_, row_counts_, lengths_;
  Vars page_positions_;   // by group, i32 [S,pages]: of the first token of each page
  Vars place_positions_;  // by group
};

// A node about to be lowered.
struct NodeLowering {
  LoweringContext& context;
  const Node& node;
  Builder& b;

  template <typename A>
  const A& attributes() const {
    return std::get<A>(node.attributes);
  }
  bool has(size_t operand) const { return operand < node.operands.size(); }
  Var operand(size_t i) const { return context.operand(node, i); }
  TensorType result_type(size_t i = 0) const { return context.type_of(node.results[i]); }
};

// lower.cpp: every node of the Program.
void lower_nodes(LoweringContext& context);

// loop.cpp: the step again and again (Bucket::steps). Returns i32 [steps,T], which a row's chosen ids
// are columns of; kNoStep where it took no part, kNotFinite where its logits could not be used.
Var lower_loop(LoweringContext& context);

// Each returns the node's results.
Vars lower_basic(const NodeLowering& it);        // basic.cpp
Vars lower_embed(const NodeLowering& it);        // matrices.cpp
Vars lower_linear(const NodeLowering& it);       // matrices.cpp
Vars lower_experts(const NodeLowering& it);      // experts.cpp
Vars lower_attention(const NodeLowering& it);    // attention.cpp
Vars lower_logits_view(const NodeLowering& it);  // logits_view.cpp
Vars lower_state_read(const NodeLowering& it);   // state.cpp

// state.cpp: stores the step's rows of keys and values [T,K,h] at their positions.
void write_state(LoweringContext& context, const StateAttributes& place, const Var& keys,
                 const Var& values);

// How products with weights are written.
struct ProductForm {
  Element element = Element::bf16;  // packed codes are multiplied in: bf16 or float32
  // A single row is multiplied and summed instead of a product of matrices: of that XLA for CUDA makes
  // a kernel that reads the weight once, as it lies. 32 us instead of 40 for 14336 x 4096 of bf16.
  bool row_as_sum = false;
};
ProductForm product_form(const LoweringOptions& options);

// projection.cpp: x [..,I] times a matrix of `outputs` O, summed over I in float32: [..,O]. Both are
// multiplied in the type of the matrix' values, or packed codes in `form.element`.
Var project(Builder& b, const Var& x, const DeviceWeight& matrix, const ProductForm& form);

// How rows of a table are read: all by one gather, or each by a slice. libtpu copies a table whose rows
// are no whole tiles of 128 lanes before it gathers from it, in every step: 297 MB of 201088 x 2880 / 4
// in bf16, and back.
enum class TableReads : uint8_t { gather, slices };

// Number `index` (i32) of a stack.
DeviceWeight one_of(Builder& b, const DeviceWeight& stack, const Var& index);
// Rows of a table by their numbers [T], in float32.
Var table_rows(Builder& b, const DeviceWeight& table, const Var& ids, TableReads reads);
// How that is done on a platform.
TableReads table_reads(Platform platform, const DeviceWeight& table);

// weight_arrays.cpp: how the arrays of a form are split where the weight's own dimensions are split
// like this: groups as its columns.
std::vector<Splits> weight_splits(const Splits& splits, const DeviceForm& form);

}  // namespace dunlin::pjrt

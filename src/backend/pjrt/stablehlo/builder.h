// Builder: writes a StableHLO module of one function, operation by operation, over typed values.
// Source: the StableHLO specification (openxla/stablehlo, docs/spec.md); plug-ins parse the text.
// A wrong shape is a mistake of the caller and fails a check here, not in the plug-in.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/element.h"

namespace dunlin::pjrt {

// The devices that a module is for: a grid with named axes, outermost first, each of more than one
// place. None: a single device.
struct DeviceGrid {
  struct Axis {
    std::string name = {};
    int64_t size = 1;
  };
  std::vector<Axis> axes = {};

  int64_t size(const std::string& name) const;
};

// Of each dimension of an array, the axes that split it, outermost first. A list that is too short
// leaves the rest whole.
using Splits = std::vector<std::vector<std::string>>;

// Devices by their numbers in the grid, which is counted row-major. Every device is in one group; its
// place there is that of its part among the group's.
using DeviceGroups = std::vector<std::vector<int64_t>>;

// A value of the function: its name in the text and its type.
struct Var {
  std::string name = {};
  TensorType type = {};

  int64_t dim(size_t axis) const { return type.dims[axis]; }
  int64_t rank() const { return static_cast<int64_t>(type.dims.size()); }
};

using Vars = std::vector<Var>;
using Axes = std::vector<int64_t>;

enum class Reduction : uint8_t { sum, max };

struct DotAxes {
  Axes batch_left = {}, batch_right = {};
  Axes contract_left = {}, contract_right = {};
};

// For a grid of devices the module is written from the point of view of one of them: types are those
// of its parts of arrays, and only collectives bring devices together. Arguments and results carry
// Shardy's annotations, and all between them is one sdy.manual_computation (openxla/shardy).
class Builder {
 public:
  Builder() = default;
  explicit Builder(DeviceGrid grid) : grid_(std::move(grid)) {}

  // The next argument of the function; `attributes` as in "{tf.aliasing_output = 0 : i32}".
  Var argument(const TensorType& type, const std::string& attributes = "",
               const Splits& splits = {});
  // Operations from here on carry this name: profiles and compiled programs show it.
  void set_location(const std::string& name) { location_ = name; }
  // The module; `results` are what the function returns, and how each of them is split. `attributes`
  // are those of the first results, in the form that argument() takes.
  std::string finish(const Vars& results, const std::vector<Splits>& splits = {},
                     const std::vector<std::string>& attributes = {}) const;

  // ---- values from nothing (builder.cpp)
  Var constant(const TensorType& type, double value);
  Var constant(const TensorType& type, const std::vector<double>& values);  // row-major
  Var scalar(int64_t value) { return constant({Element::i32, {}}, static_cast<double>(value)); }
  Var filled_like(const Var& x, double value) { return constant(x.type, value); }
  Var iota(const TensorType& type, int64_t axis);

  // ---- element by element (elementwise.cpp); operands of one shape, `op` is StableHLO's name
  Var unary(const char* op, const Var& x);
  Var binary(const char* op, const Var& a, const Var& b);
  Var add(const Var& a, const Var& b) { return binary("add", a, b); }
  Var subtract(const Var& a, const Var& b) { return binary("subtract", a, b); }
  Var multiply(const Var& a, const Var& b) { return binary("multiply", a, b); }
  Var divide(const Var& a, const Var& b) { return binary("divide", a, b); }
  Var maximum(const Var& a, const Var& b) { return binary("maximum", a, b); }
  Var minimum(const Var& a, const Var& b) { return binary("minimum", a, b); }
  Var both(const Var& a, const Var& b) { return binary("and", a, b); }
  Var plus(const Var& x, double c) { return add(x, filled_like(x, c)); }
  Var times(const Var& x, double c) { return multiply(x, filled_like(x, c)); }
  Var compare(const char* direction, const Var& a, const Var& b);  // "EQ", "LT", ...
  Var select(const Var& condition, const Var& when_true, const Var& when_false);
  Var convert(const Var& x, Element to);  // x itself when it is of that type

  Var bitcast(const Var& x, Element to);  // of the same width

  // ---- layout (layout.cpp)
  Var reshape(const Var& x, const Shape& dims);
  // Dimension i of x is dimension axes[i] of the result; a size of 1 repeats.
  Var broadcast(const Var& x, const Shape& dims, const Axes& axes);
  Var broadcast_trailing(const Var& x, const Shape& dims);  // as the Program's broadcasts align
  Var transpose(const Var& x, const Axes& axes);
  Var slice(const Var& x, int64_t axis, int64_t begin, int64_t end, int64_t stride = 1);
  Var concatenate(const Vars& parts, int64_t axis);
  Var pad(const Var& x, int64_t axis, int64_t before, int64_t after, double value);

  // ---- contraction and choice (reduction.cpp)
  Var reduce(Reduction kind, const Var& x, int64_t axis);
  Var cumulative_sum(const Var& x, int64_t axis);
  // Sums in f32: operands of one element type, result f32.
  Var dot(const Var& a, const Var& b, const DotAxes& axes);
  // k largest of the last dimension, descending, ties by lowest index.
  struct Best {
    Var values, indices;
  };
  Best top_k(const Var& x, int64_t k);

  // ---- indexed (indexed.cpp); starts and indices are i32 and clamped to what is there
  // `indices` [I..] replace dimension `axis` of x.
  Var gather(const Var& x, const Var& indices, int64_t axis);
  Var scatter_add(const Var& into, const Var& rows, const Var& updates);  // rows of dimension 0
  Var dynamic_slice(const Var& x, const Vars& starts, const Shape& sizes);
  Var dynamic_update_slice(const Var& x, const Var& update, const Vars& starts);

  // ---- control (control.cpp)
  using Condition = std::function<Var(const Vars&)>;
  using Body = std::function<Vars(const Vars&)>;
  // Runs `body` on the values while `condition` of them (a scalar i1) holds.
  Vars while_loop(const Vars& initial, const Condition& condition, const Body& body);
  // One value of a `while` that counts from 0 to `count` (scalar i32) and carries `initial`.
  using CountedBody = std::function<Vars(const Var& number, const Vars&)>;
  Vars counted_loop(const Var& count, const Vars& initial, const CountedBody& body);
  // The same values, which a compiler takes for new ones: what is computed from them stays behind what
  // all of them depend on.
  Vars barrier(const Vars& values);

  // ---- between devices (collectives.cpp); every device comes to the same ones in the same order
  Var all_reduce(const Var& x, const DeviceGroups& groups);  // sum of each element
  // The parts of a group along one dimension, in the order of their places.
  Var all_gather(const Var& x, int64_t axis, const DeviceGroups& groups);
  // The sum, of which each device gets its part of the dimension.
  Var reduce_scatter(const Var& x, int64_t axis, const DeviceGroups& groups);

 private:
  Var emit(const std::string& text, const TensorType& type);
  Vars emit_many(const std::string& text, const std::vector<TensorType>& types);
  void line(const std::string& text);
  std::string fresh();  // a name
  std::string region(const Vars& arguments, const std::function<Vars(const Vars&)>& body);
  TensorType whole(const TensorType& type, const Splits& splits) const;
  std::string finish_on_grid(const Vars& results, const std::vector<Splits>& splits,
                             const std::vector<std::string>& attributes) const;
  std::string collective_attributes(const DeviceGroups& groups);

  // An argument of the function and, on a grid, a device's part of it.
  struct Argument {
    std::string text = {};  // "%arg0: tensor<8xf32> {..}"
    TensorType whole = {};
    Var part = {};
    Splits splits = {};
  };
  DeviceGrid grid_;
  int64_t channels_ = 0;  // of collectives
  std::vector<Argument> arguments_;
  std::string body_;
  std::string location_;
  int depth_ = 2;
  int next_ = 0;
};

std::string join_names(const Vars& values);  // "%1, %2"
std::string join_types(const Vars& values);  // "tensor<f32>, tensor<i1>"

}  // namespace dunlin::pjrt

// One forward pass with a rule per operation. The rules only have to keep what models are split by:
// an operation without one takes its operands whole.
#include <algorithm>
#include <optional>

#include "backend/pjrt/sharding/program_sharding.h"
#include "backend/pjrt/sharding/reshape.h"
#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

Layout without(Layout layout, int64_t axis) {
  layout[static_cast<size_t>(axis)].clear();
  return layout;
}

class Propagation {
 public:
  Propagation(const Program& program, const Sharding& sharding, bool splits_batch)
      : program_(program), mesh_(sharding.mesh) {
    result_.sharding = sharding;
    result_.splits_batch = splits_batch;
  }

  ProgramSharding run() && {
    for (const KvGroup& group : program_.kv_groups) {
      result_.keys.push_back(key_layout(mesh_, group.kv_heads));
    }
    place_weights();
    for (const Value& value : program_.values) {
      const bool weight = value.kind == Value::Kind::weight;
      result_.values.push_back(weight ? result_.weights[static_cast<size_t>(value.weight)]
                                      : whole_layout(value.type.dims.size()));
    }
    for (const Node& node : program_.nodes) {
      wants_.clear();
      for (const ValueId id : node.operands) wants_.push_back(whole_layout(dims(id).size()));
      visit(node);
      result_.operands.push_back(wants_);
    }
    for (const Output& output : program_.outputs) {
      result_.outputs.push_back(returned(of(output.value)));
    }
    return std::move(result_);
  }

 private:
  Layout& of(ValueId id) { return result_.values[static_cast<size_t>(id)]; }
  const Dims& dims(ValueId id) const { return program_.type(id).dims; }
  // Null where the value is no weight.
  Layout* weight_layout(ValueId id) {
    const Value& value = program_.values[static_cast<size_t>(id)];
    if (value.kind != Value::Kind::weight) return nullptr;
    return &result_.weights[static_cast<size_t>(value.weight)];
  }

  // ---- weights

  // Experts are split where rows come to them. What else has a number for each of them, a router,
  // is there for rows of its own part of the batch: a copy on every device.
  void place_weights() {
    std::vector<bool> of_experts(program_.weights.size(), true);
    const auto read_elsewhere = [&](ValueId id) {
      const Value& value = program_.values[static_cast<size_t>(id)];
      if (value.kind == Value::Kind::weight) of_experts[static_cast<size_t>(value.weight)] = false;
    };
    for (const Node& node : program_.nodes) {
      const size_t stacks = node.op == Op::experts ? 3 : node.operands.size();
      for (size_t i = 0; i < stacks; ++i) read_elsewhere(node.operands[i]);
    }
    for (const Output& output : program_.outputs) read_elsewhere(output.value);
    for (size_t i = 0; i < program_.weights.size(); ++i) {
      std::vector<AxisList> axes = program_.weights[i].dims;
      for (AxisList& dim : axes) {
        for (AxisSize& axis : dim) {
          if (axis.axis == Axis::experts && !of_experts[i]) axis.axis = Axis::head_dim;
        }
      }
      result_.weights.push_back(canonical_layout(mesh_, axes));
    }
    while (make_usable()) {
    }
  }

  // Weights that their operation cannot take as they are split become whole; whether there was one.
  bool make_usable() {
    bool changed = false;
    for (const Node& node : program_.nodes) {
      size_t first = node.operands.size();
      if (node.op == Op::embed && !in_one_run(node.operands[1])) first = 1;
      if (node.op == Op::experts && !shares_experts(node)) first = 3;
      for (size_t i = first; i < node.operands.size(); ++i) {
        Layout* const layout = weight_layout(node.operands[i]);
        if (layout == nullptr || is_whole(*layout)) continue;
        *layout = whole_layout(layout->size());
        changed = true;
      }
    }
    return changed;
  }

  // A device's rows of a table follow each other.
  bool in_one_run(ValueId table) {
    const Layout* const layout = weight_layout(table);
    return layout == nullptr || layout->front().size() <= 1;
  }

  // All stacks are split alike: experts [E], and within them ffn.
  bool shares_experts(const Node& node) {
    std::vector<Layout> stacks;
    for (size_t i = 3; i < node.operands.size(); ++i) {
      const Layout* const layout = weight_layout(node.operands[i]);
      if (layout == nullptr) return false;
      stacks.push_back(*layout);
    }
    const AxisList e = stacks[0][0];
    const AxisList f = stacks[0][1];
    const AxisList d;
    bool same = e.size() <= 1 && stacks[0] == Layout{e, f, d} && stacks[1] == Layout{e, f, d} &&
                stacks[2] == Layout{e, d, f};
    if (stacks.size() > 3) {
      same = same && stacks[3] == Layout{e, f} && stacks[4] == Layout{e, f} &&
             stacks[5] == Layout{e, d};
    }
    return same;
  }

  // ---- values

  void visit(const Node& node) {
    switch (node.op) {
      case Op::embed:
        wants_[1] = of(node.operands[1]);
        of(node.results[0]).back() = wants_[1][1];
        return;
      case Op::linear:
        return linear(node);
      case Op::experts:
        for (size_t i = 3; i < node.operands.size(); ++i) wants_[i] = of(node.operands[i]);
        return;
      case Op::attention:
        return attention(node);
      case Op::logits_view:
        // Parts of the vocabulary in a row; other splits are gathered.
        if (of(node.operands[0])[1].size() == 1) wants_[0] = of(node.operands[0]);
        return;
      case Op::state_write:
        wants_[0] = wants_[1] = keys_of(std::get<StateAttributes>(node.attributes));
        return;
      case Op::state_read:
        for (const size_t i : {0, 1}) {
          of(node.results[i])[2] = keys_of(std::get<StateAttributes>(node.attributes))[1];
        }
        return;
      case Op::add:
      case Op::mul:
      case Op::unary:
      case Op::binary:
      case Op::compare:
      case Op::select:
      case Op::convert:
        return elementwise(node);
      default:
        return rearranging(node);
    }
  }

  void rearranging(const Node& node) {
    switch (node.op) {
      case Op::slice:
        return along(node, std::get<SliceAttributes>(node.attributes).axis);
      case Op::pad:
        return along(node, std::get<PadAttributes>(node.attributes).axis);
      case Op::concat:
      case Op::cumsum:
      case Op::top_k:
        return along(node, std::get<AxisAttributes>(node.attributes).axis);
      case Op::reduce: {
        const int64_t axis = std::get<ReduceAttributes>(node.attributes).axis;
        wants_[0] = without(of(node.operands[0]), axis);
        of(node.results[0]) = wants_[0];
        of(node.results[0]).erase(of(node.results[0]).begin() + axis);
        return;
      }
      case Op::gather:
        return gather(node);
      case Op::broadcast:
        wants_[0] =
            matching(node.operands[0], node.results[0], aligned(node.operands[0], node.results[0]));
        of(node.results[0]) = aligned(node.operands[0], node.results[0]);
        return;
      case Op::transpose: {
        wants_[0] = of(node.operands[0]);
        const auto& axes = std::get<PermutationAttributes>(node.attributes).axes;
        for (size_t i = 0; i < axes.size(); ++i)
          of(node.results[0])[i] = wants_[0][static_cast<size_t>(axes[i])];
        return;
      }
      case Op::reshape:
        if (const auto layout = reshaped(mesh_, of(node.operands[0]), dims(node.operands[0]),
                                         dims(node.results[0]))) {
          wants_[0] = of(node.operands[0]);
          of(node.results[0]) = *layout;
        }
        return;
      default:
        return;
    }
  }

  // x [..,I], w [O,I], b [O]: where I is split, the devices have partial sums.
  void linear(const Node& node) {
    const Layout w = of(node.operands[1]);
    Layout x = of(node.operands[0]);
    x.back() = w[1];
    if (shares_axes(x, w)) {
      x = whole_layout(x.size());
      x.back() = w[1];
    }
    wants_[0] = x;
    wants_[1] = w;
    if (node.operands.size() > 2) wants_[2] = Layout{w[0]};
    x.back() = w[0];
    of(node.results[0]) = x;
  }

  // Whether a leading dimension of x is split by a mesh axis that splits w.
  bool shares_axes(const Layout& x, const Layout& w) const {
    for (size_t i = 0; i + 1 < x.size(); ++i) {
      for (const MeshAxis axis : split_axes(mesh_, x[i])) {
        for (const AxisList& dim : w) {
          const std::vector<MeshAxis> others = split_axes(mesh_, dim);
          if (std::ranges::find(others, axis) != others.end()) return true;
        }
      }
    }
    return false;
  }

  const Layout& keys_of(const StateAttributes& place) const {
    return result_.keys[static_cast<size_t>(place.group)];
  }

  void attention(const Node& node) {
    const int64_t heads = dims(node.operands[0])[1].size;
    const int64_t kv_heads = dims(node.operands[1])[1].size;
    const Layout queries = query_layout(mesh_, heads, kv_heads);
    wants_[0] = queries;
    wants_[1] = wants_[2] = key_layout(mesh_, kv_heads);
    if (node.operands.size() > 3) wants_[3] = Layout{queries[1]};
    of(node.results[0]) = queries;
  }

  // As the first operand that is split. The others follow: a part of a whole value is cut out where
  // it is needed.
  void elementwise(const Node& node) {
    Layout target = whole_layout(dims(node.results[0]).size());
    for (const ValueId id : node.operands) {
      target = aligned(id, node.results[0]);
      if (!is_whole(target)) break;
    }
    for (size_t i = 0; i < node.operands.size(); ++i)
      wants_[i] = matching(node.operands[i], node.results[0], target);
    of(node.results[0]) = target;
  }

  // The layout of a value as trailing dimensions of a result, which it may be repeated along.
  Layout aligned(ValueId id, ValueId result) {
    Layout target = whole_layout(dims(result).size());
    const size_t offset = target.size() - dims(id).size();
    for (size_t i = 0; i < dims(id).size(); ++i) {
      if (dims(id)[i] == dims(result)[offset + i]) target[offset + i] = of(id)[i];
    }
    return target;
  }

  // What an operand must be for its result to be split like `target`.
  Layout matching(ValueId id, ValueId result, const Layout& target) const {
    Layout layout = whole_layout(dims(id).size());
    const size_t offset = target.size() - layout.size();
    for (size_t i = 0; i < layout.size(); ++i) {
      if (dims(id)[i] == dims(result)[offset + i]) layout[i] = target[offset + i];
    }
    return layout;
  }

  // An operation that works along one axis, on operands and with results of one rank.
  void along(const Node& node, int64_t axis) {
    Layout layout = without(of(node.operands[0]), axis);
    for (size_t i = 0; i < node.operands.size(); ++i) wants_[i] = layout;
    for (const ValueId result : node.results) of(result) = layout;
  }

  void gather(const Node& node) {
    const int64_t axis = std::get<AxisAttributes>(node.attributes).axis;
    wants_[0] = without(of(node.operands[0]), axis);
    const Layout& x = wants_[0];
    Layout layout(x.begin(), x.begin() + axis);
    layout.resize(layout.size() + dims(node.operands[1]).size());
    layout.insert(layout.end(), x.begin() + axis + 1, x.end());
    of(node.results[0]) = layout;
  }

  // Parts of the last dimension leave the devices as they are, and are put together on the host.
  static Layout returned(const Layout& layout) {
    if (layout.empty() || layout.back().size() != 1) return whole_layout(layout.size());
    const bool others = std::any_of(layout.begin(), layout.end() - 1,
                                    [](const AxisList& dim) { return !dim.empty(); });
    return others ? whole_layout(layout.size()) : layout;
  }

  const Program& program_;
  const Mesh& mesh_;
  ProgramSharding result_ = {};
  std::vector<Layout> wants_ = {};  // of the node that is visited
};

}  // namespace

ProgramSharding propagate(const Program& program, const Sharding& sharding, bool splits_batch) {
  return Propagation(program, sharding, splits_batch).run();
}

}  // namespace dunlin::pjrt

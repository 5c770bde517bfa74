// One forward pass with a rule per operation; what has no rule has no axes.
#include "program/value_axes.h"

#include "program/sharding.h"

namespace dunlin {

namespace {

class Axes {
 public:
  explicit Axes(const Program& program) : program_(program), axes_(program.values.size()) {
    for (size_t i = 0; i < program.values.size(); ++i) {
      const Value& value = program.values[i];
      axes_[i].resize(value.type.dims.size());
      if (value.kind != Value::Kind::weight) continue;
      axes_[i] = program.weights[static_cast<size_t>(value.weight)].dims;
    }
  }

  std::vector<ValueAxes> run() && {
    for (const Node& node : program_.nodes) visit(node);
    return std::move(axes_);
  }

 private:
  ValueAxes& of(ValueId id) { return axes_[static_cast<size_t>(id)]; }
  const Dims& dims(ValueId id) const { return program_.type(id).dims; }

  void visit(const Node& node) {
    switch (node.op) {
      case Op::embed:
        of(node.results[0]).back() = of(node.operands[1])[1];
        return;
      case Op::linear:
        copy(node.operands[0], node.results[0]);
        of(node.results[0]).back() = of(node.operands[1])[0];
        return;
      case Op::reshape:
        reshape(node.operands[0], node.results[0]);
        return;
      case Op::gather_rows:
      case Op::pool:
        copy(node.operands[0], node.results[0]);
        return;
      case Op::add:
      case Op::mul:
        // Whichever operand has the result's shape; the other is repeated.
        copy(node.operands[0], node.results[0]);
        copy(node.operands[1], node.results[0]);
        return;
      case Op::rms_norm:
      case Op::rope:
      case Op::attention:
      case Op::gated:
      case Op::experts:
      case Op::softcap:
      case Op::act:
      case Op::tap:
      case Op::convert:
      case Op::unary:
        copy(node.operands[0], node.results[0]);
        return;
      default:
        return;
    }
  }

  // The same number of dimensions, each of the same size: symbols may differ (gather_rows).
  void copy(ValueId from, ValueId to) {
    const Dims& source = dims(from);
    const Dims& target = dims(to);
    if (source.size() != target.size()) return;
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] == target[i]) of(to)[i] = of(from)[i];
    }
  }

  // Known sizes in a row, outermost first, are dealt to the new dimensions; where a dimension's size
  // falls within an axis, or an operand's dimension has no axes, the rest has none.
  void reshape(ValueId from, ValueId to) {
    AxisList flat;
    for (size_t i = 0; i < dims(from).size(); ++i) {
      if (!dims(from)[i].known() || dims(from)[i].size == 1) continue;
      const AxisList& axes = of(from)[i];
      if (axes.empty()) return;
      flat.insert(flat.end(), axes.begin(), axes.end());
    }
    size_t next = 0;
    ValueAxes& result = of(to);
    for (size_t i = 0; i < dims(to).size(); ++i) {
      if (!dims(to)[i].known() || dims(to)[i].size == 1) continue;
      AxisList taken;
      while (next < flat.size() && extent(taken) < dims(to)[i].size) taken.push_back(flat[next++]);
      if (extent(taken) != dims(to)[i].size) return;
      result[i] = std::move(taken);
    }
  }

  const Program& program_;
  std::vector<ValueAxes> axes_;
};

}  // namespace

std::vector<ValueAxes> value_axes(const Program& program) {
  return Axes(program).run();
}

int64_t shard_elements(const ValueType& type, const ValueAxes& axes, const Mesh& mesh,
                       const SymbolSizes& sizes) {
  int64_t product = 1;
  for (size_t i = 0; i < type.dims.size(); ++i) {
    product *= axes[i].empty() ? sizes.of(type.dims[i]) : shard_extent(mesh, axes[i]);
  }
  return product;
}

}  // namespace dunlin

// Decided node by node: a symbol may only be the first dimension of a value, and no operation but
// the semantic ones that know about sequences may mix along it.
#include "backend/pjrt/row_wise.h"

#include <algorithm>

namespace dunlin::pjrt {
namespace {

bool symbol_first(const Dims& dims) {
  for (size_t i = 1; i < dims.size(); ++i) {
    if (!dims[i].known()) return false;
  }
  return true;
}

bool has_symbol(const Dims& dims) {
  return !dims.empty() && !dims.front().known();
}

class RowWise {
 public:
  explicit RowWise(const Program& program) : program_(program) {}

  bool run() const {
    const auto row_wise = [this](const Node& node) { return is_row_wise(node); };
    return std::ranges::all_of(program_.nodes, row_wise);
  }

 private:
  const Dims& dims(ValueId id) const { return program_.type(id).dims; }

  bool is_row_wise(const Node& node) const {
    for (const ValueId id : node.operands) {
      if (!symbol_first(dims(id))) return false;
    }
    for (const ValueId id : node.results) {
      if (!symbol_first(dims(id))) return false;
    }
    switch (node.op) {
      case Op::slice:
        return keeps(node, std::get<SliceAttributes>(node.attributes).axis);
      case Op::pad:
        return keeps(node, std::get<PadAttributes>(node.attributes).axis);
      case Op::reduce:
        return keeps(node, std::get<ReduceAttributes>(node.attributes).axis);
      case Op::concat:
      case Op::cumsum:
      case Op::top_k:
        return keeps(node, std::get<AxisAttributes>(node.attributes).axis);
      case Op::iota:
        return std::get<AxisAttributes>(node.attributes).axis > 0 ||
               !has_symbol(dims(node.results[0]));
      case Op::dot:
        return contracts_known(node);
      case Op::gather_rows:
        return reads_logit_rows(node);
      case Op::gather:
        return std::get<AxisAttributes>(node.attributes).axis > 0 ||
               !has_symbol(dims(node.operands[0])) || reads_logit_rows(node);
      case Op::scatter_add:
        return false;
      default:
        return true;
    }
  }

  // The axis that the node works along is not the rows'.
  bool keeps(const Node& node, int64_t axis) const {
    return axis > 0 || !has_symbol(dims(node.operands[0]));
  }

  bool contracts_known(const Node& node) const {
    const auto& attributes = std::get<DotAttributes>(node.attributes);
    for (const int64_t axis : attributes.contract_left) {
      if (!dims(node.operands[0])[static_cast<size_t>(axis)].known()) return false;
    }
    return true;
  }

  // The row numbers are the step's, which are adapted when a step is padded.
  bool reads_logit_rows(const Node& node) const {
    const Value& rows = program_.values[static_cast<size_t>(node.operands[1])];
    return rows.kind == Value::Kind::input && rows.input == InputKind::logit_rows;
  }

  const Program& program_;
};

}  // namespace

bool is_row_wise(const Program& program) {
  return RowWise(program).run();
}

}  // namespace dunlin::pjrt

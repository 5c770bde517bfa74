// The basic operations, one to one, where StableHLO's meaning is the Program's; the rest with what
// makes up the difference.
#include <limits>

#include "backend/pjrt/lower/context.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

Var lower_unary(const NodeLowering& it) {
  const Var x = it.operand(0);
  switch (it.attributes<UnaryAttributes>().kind) {
    case UnaryKind::neg:
      return it.b.unary("negate", x);
    case UnaryKind::exp:
      return it.b.unary("exponential", x);
    case UnaryKind::log:
      return it.b.unary("log", x);
    case UnaryKind::sqrt:
      return it.b.unary("sqrt", x);
    case UnaryKind::sin:
      return it.b.unary("sine", x);
    case UnaryKind::cos:
      return it.b.unary("cosine", x);
    case UnaryKind::abs:
      return it.b.unary("abs", x);
    case UnaryKind::logical_not:
      break;
  }
  return it.b.unary("not", x);
}

// Integers: a / 0 is 0.
Var divide(Builder& b, const Var& x, const Var& y) {
  if (x.type.element != Element::i32) return b.divide(x, y);
  const Var zero = b.filled_like(y, 0.0);
  const Var is_zero = b.compare("EQ", y, zero);
  return b.select(is_zero, zero, b.divide(x, b.select(is_zero, b.filled_like(y, 1.0), y)));
}

Var lower_binary(const NodeLowering& it) {
  const Var x = it.operand(0);
  const Var y = it.operand(1);
  switch (it.attributes<BinaryAttributes>().kind) {
    case BinaryKind::sub:
      return it.b.subtract(x, y);
    case BinaryKind::div:
      return divide(it.b, x, y);
    case BinaryKind::max:
      return it.b.maximum(x, y);
    case BinaryKind::min:
      return it.b.minimum(x, y);
    case BinaryKind::logical_and:
      return it.b.both(x, y);
    case BinaryKind::logical_or:
      return it.b.binary("or", x, y);
    case BinaryKind::shift_left:
      return it.b.binary("shift_left", x, y);
    case BinaryKind::shift_right:
      break;
  }
  return it.b.binary("shift_right_logical", x, y);
}

const char* direction(CompareKind kind) {
  switch (kind) {
    case CompareKind::eq:
      return "EQ";
    case CompareKind::ne:
      return "NE";
    case CompareKind::lt:
      return "LT";
    case CompareKind::le:
      return "LE";
    case CompareKind::gt:
      return "GT";
    case CompareKind::ge:
      break;
  }
  return "GE";
}

Var lower_convert(const NodeLowering& it) {
  const Var x = it.operand(0);
  const Element to = element_of(it.attributes<ConvertAttributes>().to);
  if (to != Element::i1 || x.type.element == Element::i1) return it.b.convert(x, to);
  return it.b.compare("NE", x, it.b.filled_like(x, 0.0));
}

Var lower_reduce(const NodeLowering& it) {
  const auto& attributes = it.attributes<ReduceAttributes>();
  const bool sum = attributes.kind == ReduceAttributes::Kind::sum;
  return it.b.reduce(sum ? Reduction::sum : Reduction::max, it.operand(0), attributes.axis);
}

// A NaN counts as -infinity: it is never among the best unless nothing else is.
Vars lower_top_k(const NodeLowering& it) {
  const Var x = it.operand(0);
  const Var number = it.b.compare("EQ", x, x);
  const Var lowest = it.b.filled_like(x, -std::numeric_limits<double>::infinity());
  const Builder::Best best =
      it.b.top_k(it.b.select(number, x, lowest), it.attributes<AxisAttributes>().k);
  return {best.values, best.indices};
}

Var lower_layout(const NodeLowering& it) {
  const TensorType type = it.result_type();
  switch (it.node.op) {
    case Op::reshape:
      return it.b.reshape(it.operand(0), type.dims);
    case Op::slice: {
      const auto& slice = it.attributes<SliceAttributes>();
      return it.b.slice(it.operand(0), slice.axis, slice.begin, slice.end, slice.stride);
    }
    case Op::concat: {
      Vars parts;
      for (size_t i = 0; i < it.node.operands.size(); ++i) parts.push_back(it.operand(i));
      return it.b.concatenate(parts, it.attributes<AxisAttributes>().axis);
    }
    case Op::broadcast:
      return it.b.broadcast_trailing(it.operand(0), type.dims);
    case Op::transpose:
      return it.b.transpose(it.operand(0), it.attributes<PermutationAttributes>().axes);
    case Op::pad: {
      const auto& pad = it.attributes<PadAttributes>();
      return it.b.pad(it.operand(0), pad.axis, pad.before, pad.after, pad.value);
    }
    case Op::constant:
      return it.b.constant(type, it.attributes<ConstAttributes>().values);
    case Op::iota:
      return it.b.iota(type, it.attributes<AxisAttributes>().axis);
    case Op::gather:
      return it.b.gather(it.operand(0), it.operand(1), it.attributes<AxisAttributes>().axis);
    default:
      break;
  }
  DUNLIN_CHECK(false, std::string(op_name(it.node.op)) + " has no lowering");
  return {};
}

Var lower_computation(const NodeLowering& it) {
  switch (it.node.op) {
    case Op::add:
    case Op::mul: {
      const Shape dims = it.result_type().dims;
      const Var x = it.b.broadcast_trailing(it.operand(0), dims);
      const Var y = it.b.broadcast_trailing(it.operand(1), dims);
      return it.node.op == Op::add ? it.b.add(x, y) : it.b.multiply(x, y);
    }
    case Op::unary:
      return lower_unary(it);
    case Op::binary:
      return lower_binary(it);
    case Op::compare:
      return it.b.compare(direction(it.attributes<CompareAttributes>().kind), it.operand(0),
                          it.operand(1));
    case Op::select:
      return it.b.select(it.operand(0), it.operand(1), it.operand(2));
    case Op::convert:
      return lower_convert(it);
    case Op::reduce:
      return lower_reduce(it);
    case Op::cumsum:
      return it.b.cumulative_sum(it.operand(0), it.attributes<AxisAttributes>().axis);
    case Op::dot: {
      const auto& dot = it.attributes<DotAttributes>();
      return it.b.dot(it.operand(0), it.operand(1),
                      {dot.batch_left, dot.batch_right, dot.contract_left, dot.contract_right});
    }
    case Op::scatter_add:
      return it.b.scatter_add(it.operand(0), it.operand(1), it.operand(2));
    default:
      return lower_layout(it);
  }
}

}  // namespace

Vars lower_basic(const NodeLowering& it) {
  if (it.node.op == Op::top_k) return lower_top_k(it);
  return {lower_computation(it)};
}

}  // namespace dunlin::pjrt

// Which function runs which basic operation.
#include "backend/reference/basic_ops.h"
#include "backend/reference/node_run.h"
#include "base/check.h"

namespace dunlin::reference {
namespace {

Array run_layout(const NodeRun& run, const Shape& shape) {
  const Array& x = run.operand(0);
  switch (run.node.op) {
    case Op::reshape:
      return reshape(x, shape);
    case Op::slice:
      return slice(x, run.attributes<SliceAttributes>(), shape);
    case Op::concat:
      return concat(run.operands, run.attributes<AxisAttributes>().axis, shape);
    case Op::broadcast:
      return broadcast(x, shape);
    case Op::transpose:
      return transpose(x, run.attributes<PermutationAttributes>(), shape);
    case Op::pad:
      return pad(x, run.attributes<PadAttributes>(), shape);
    case Op::gather:
      return gather(x, run.operand(1), run.attributes<AxisAttributes>().axis, shape);
    default:
      break;
  }
  DUNLIN_CHECK(false, "not a basic operation");
  return {};
}

Array run_computation(const NodeRun& run, const Shape& shape) {
  const Array& x = run.operand(0);
  switch (run.node.op) {
    case Op::add:
      return add(x, run.operand(1), shape);
    case Op::mul:
      return mul(x, run.operand(1), shape);
    case Op::convert:
      return convert(x, run.attributes<ConvertAttributes>().to);
    case Op::reduce:
      return reduce(x, run.attributes<ReduceAttributes>(), shape);
    case Op::dot:
      return dot(x, run.operand(1), run.attributes<DotAttributes>(), shape);
    case Op::scatter_add:
      return scatter_add(x, run.operand(1), run.operand(2));
    case Op::select:
      return select(x, run.operand(1), run.operand(2), shape);
    case Op::compare:
      return compare(run.attributes<CompareAttributes>().kind, x, run.operand(1), shape);
    case Op::cumsum:
      return cumsum(x, run.attributes<AxisAttributes>().axis);
    case Op::unary:
      return unary(run.attributes<UnaryAttributes>().kind, x);
    case Op::binary:
      return binary(run.attributes<BinaryAttributes>().kind, x, run.operand(1), shape);
    default:
      return run_layout(run, shape);
  }
}

}  // namespace

void run_basic(NodeRun& run) {
  if (run.node.op == Op::state_write || run.node.op == Op::state_read) return run_state(run);
  if (run.node.op == Op::top_k) {
    const int64_t k = run.attributes<AxisAttributes>().k;
    return top_k(run.operand(0), k, run.result(0), run.result(1));
  }
  const Shape shape = run.result().shape();
  const DType dtype = run.result().dtype();
  if (run.node.op == Op::constant) {
    run.result() = constant(run.attributes<ConstAttributes>(), dtype, shape);
  } else if (run.node.op == Op::iota) {
    run.result() = iota(run.attributes<AxisAttributes>().axis, dtype, shape);
  } else {
    run.result() = run_computation(run, shape);
  }
}

}  // namespace dunlin::reference

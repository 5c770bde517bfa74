// One forward pass: views resolve to their operand's root, uses extend the value and its root.
#include "program/liveness.h"

#include <algorithm>

namespace dunlin {

namespace {

bool is_contiguous(const Dims& x, const SliceAttributes& slice) {
  const auto before = x.begin() + slice.axis;
  const bool outermost = std::all_of(x.begin(), before, [](const Dim& dim) { return dim == 1; });
  const bool whole = slice.begin == 0 && *before == slice.end;
  return slice.stride == 1 && (outermost || whole);
}

}  // namespace

bool is_view(const Program& program, const Node& node) {
  if (node.op == Op::reshape || node.op == Op::tap) return true;
  if (node.op != Op::slice) return false;
  return is_contiguous(program.type(node.operands[0]).dims,
                       std::get<SliceAttributes>(node.attributes));
}

Liveness analyse_liveness(const Program& program) {
  const size_t count = program.values.size();
  Liveness result{std::vector<int32_t>(count), std::vector<ValueId>(count),
                  std::vector<LiveInterval>(count)};
  for (size_t i = 0; i < count; ++i) {
    const Value& value = program.values[i];
    const int32_t made = value.kind == Value::Kind::node ? value.node : -1;
    result.last_use[i] = made;
    result.storage_root[i] = static_cast<ValueId>(i);
    result.storage[i] = {made, made};
  }
  const auto use = [&result](ValueId id, int32_t node) {
    const auto index = static_cast<size_t>(id);
    const auto root = static_cast<size_t>(result.storage_root[index]);
    result.last_use[index] = std::max(result.last_use[index], node);
    result.storage[root].last = std::max(result.storage[root].last, node);
  };
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const Node& node = program.nodes[i];
    for (const ValueId operand : node.operands) use(operand, static_cast<int32_t>(i));
    if (!is_view(program, node)) continue;
    const auto operand = static_cast<size_t>(node.operands[0]);
    result.storage_root[static_cast<size_t>(node.results[0])] = result.storage_root[operand];
  }
  const auto end = static_cast<int32_t>(program.nodes.size());
  for (const Output& output : program.outputs) use(output.value, end);
  for (size_t i = 0; i < count; ++i) {
    result.storage[i] = result.storage[static_cast<size_t>(result.storage_root[i])];
  }
  return result;
}

}  // namespace dunlin

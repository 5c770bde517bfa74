// Refusals, operation by operation.
#include "backend/cpu/select.h"

#include <algorithm>

#include "program/liveness.h"

namespace dunlin::cpu {

namespace {

bool all_f32(const Program& program, const Node& node) {
  return std::ranges::all_of(node.operands,
                             [&](ValueId id) { return program.type(id).dtype == DType::f32; });
}

bool known(const Dims& dims) {
  return std::ranges::all_of(dims, [](const Dim& dim) { return dim.known(); });
}

// Whether `small` is `large`, or its last dimensions with sizes known at compile.
bool is_suffix(const Dims& small, const Dims& large) {
  if (small.size() > large.size()) return false;
  const bool equal = std::equal(small.rbegin(), small.rend(), large.rbegin());
  return equal && (small.size() == large.size() || known(small));
}

std::string refuse_elementwise(const Program& program, const Node& node) {
  if (!all_f32(program, node)) return "the operands are not f32";
  const Dims& result = program.type(node.results[0]).dims;
  for (const ValueId id : node.operands) {
    if (!is_suffix(program.type(id).dims, result)) {
      return "an operand is repeated along a dimension that is not a leading one";
    }
  }
  const bool full = std::ranges::any_of(
      node.operands, [&](ValueId id) { return program.type(id).dims == result; });
  return full ? "" : "both operands are repeated";
}

std::string refuse_linear(const Program& program, const Node& node) {
  if (!is_weight(program, node.operands[1])) return "operand 1 is not a weight of the model";
  if (!leading_rows(program.type(node.operands[0]).dims, 1)) {
    return "the rows' classes do not follow from one leading dimension";
  }
  return "";
}

// Operand `operand` as rows of its last `inner` dimensions.
std::string refuse_rows(const Program& program, const Node& node, size_t operand, size_t inner) {
  const Dims& dims = program.type(node.operands[operand]).dims;
  if (dims.size() < inner || !known(Dims(dims.end() - static_cast<int64_t>(inner), dims.end()))) {
    return "the size of a row is not known at compile";
  }
  return leading_rows(dims, inner) ? "" : "the number of rows is a product of two symbols";
}

std::string refuse_route(const Program& program, const Node& node) {
  if (!is_weight(program, node.operands[1])) return "operand 1 is not a weight of the model";
  return refuse_rows(program, node, 0, 1);
}

std::string refuse_experts(const Program& program, const Node& node) {
  for (size_t i = 3; i <= 5; ++i) {
    if (!is_weight(program, node.operands[i]))
      return "operand " + std::to_string(i) + " is not a weight of the model";
  }
  const Dim rows = program.type(node.operands[0]).dims.front();
  return rows.symbol == Symbol::rows ? "" : "its rows are not those of the step";
}

std::string refuse_kernel(const Program& program, const Node& node) {
  switch (node.op) {
    case Op::linear:
      return refuse_linear(program, node);
    case Op::route:
      return refuse_route(program, node);
    case Op::experts:
      return refuse_experts(program, node);
    case Op::embed:
      if (!is_weight(program, node.operands[1])) return "operand 1 is not a weight of the model";
      return refuse_rows(program, node, 0, 0);
    case Op::add:
    case Op::mul:
      return refuse_elementwise(program, node);
    case Op::rope:
      return refuse_rows(program, node, 0, 2);
    case Op::rms_norm:
      return refuse_rows(program, node, 0, 1);
    case Op::rope_angles:
      return refuse_rows(program, node, 0, 0);
    case Op::gather_rows:
      return refuse_rows(program, node, 1, 0);
    case Op::attention:
      return std::get<AttentionAttributes>(node.attributes).stateful
                 ? ""
                 : "keys and values are not in the KV cache";
    case Op::logits_view:
      return refuse_rows(program, node, 0, 1);
    case Op::constant:
      return known(program.type(node.results[0]).dims) ? "" : "its size is not known at compile";
    case Op::gated:
    case Op::state_write:
    case Op::state_read:
      return "";
    default:
      return "no kernel is written for it";
  }
}

// Where a slice starts is known when the dimensions behind its axis are.
bool starts_at_known_element(const Program& program, const Node& node) {
  if (node.op != Op::slice) return true;
  const auto& attributes = std::get<SliceAttributes>(node.attributes);
  const Dims& dims = program.type(node.operands[0]).dims;
  return known(Dims(dims.begin() + attributes.axis + 1, dims.end()));
}

std::string refuse_view(const Program& program, const Node& node) {
  if (!is_view(program, node)) return "it is not the same elements in the same order";
  if (!starts_at_known_element(program, node)) return "its start is not known at compile";
  if (is_weight(program, node.operands[0])) return "a weight is held in packed form";
  return "";
}

}  // namespace

std::optional<LeadingRows> leading_rows(const Dims& dims, size_t inner) {
  LeadingRows rows;
  for (size_t i = 0; i + inner < dims.size(); ++i) {
    if (dims[i].known()) {
      rows.repeats *= dims[i].size;
      continue;
    }
    if (rows.symbol != Symbol::none || rows.repeats != 1 || dims[i].symbol == Symbol::slots) {
      return std::nullopt;
    }
    rows.symbol = dims[i].symbol;
  }
  return rows;
}

std::vector<RunnerCandidate> runner_candidates(const Program& program, const Node& node) {
  return {{Runner::view, refuse_view(program, node)},
          {Runner::kernel, refuse_kernel(program, node)},
          {Runner::reference, ""}};
}

Runner select_runner(const Program& program, const Node& node) {
  const std::vector<RunnerCandidate> candidates = runner_candidates(program, node);
  return std::ranges::find(candidates, "", &RunnerCandidate::refusal)->runner;
}

int64_t view_offset(const Program& program, const Node& node) {
  if (node.op != Op::slice) return 0;
  const auto& attributes = std::get<SliceAttributes>(node.attributes);
  const ValueType& type = program.type(node.operands[0]);
  int64_t elements = attributes.begin;
  for (size_t i = static_cast<size_t>(attributes.axis) + 1; i < type.dims.size(); ++i) {
    elements *= type.dims[i].size;
  }
  return elements * dtype_bytes(type.dtype);
}

const Node* producer(const Program& program, ValueId id) {
  const Value& value = program.values[static_cast<size_t>(id)];
  if (value.kind != Value::Kind::node) return nullptr;
  return &program.nodes[static_cast<size_t>(value.node)];
}

bool is_weight(const Program& program, ValueId id) {
  return program.values[static_cast<size_t>(id)].kind == Value::Kind::weight;
}

bool reads_packed(const Node& node, size_t operand) {
  if (node.op == Op::experts) return operand >= 3 && operand <= 5;  // gate, up, down
  return operand == 1 && (node.op == Op::linear || node.op == Op::embed || node.op == Op::route);
}

}  // namespace dunlin::cpu

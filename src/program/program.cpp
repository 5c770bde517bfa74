// Names of operations and look-ups in a Program.
#include "program/program.h"

#include <algorithm>

namespace dunlin {

const char* op_name(Op op) {
  switch (op) {
#define DUNLIN_OP(name) \
  case Op::name:        \
    return #name
    DUNLIN_OP(embed);
    DUNLIN_OP(linear);
    DUNLIN_OP(rms_norm);
    DUNLIN_OP(rope_angles);
    DUNLIN_OP(rope);
    DUNLIN_OP(attention);
    DUNLIN_OP(gated);
    DUNLIN_OP(route);
    DUNLIN_OP(experts);
    DUNLIN_OP(softcap);
    DUNLIN_OP(act);
    DUNLIN_OP(gather_rows);
    DUNLIN_OP(pool);
    DUNLIN_OP(logits_view);
    DUNLIN_OP(sample);
    DUNLIN_OP(tap);
    DUNLIN_OP(add);
    DUNLIN_OP(mul);
    DUNLIN_OP(reshape);
    DUNLIN_OP(slice);
    DUNLIN_OP(concat);
    DUNLIN_OP(constant);
    DUNLIN_OP(iota);
    DUNLIN_OP(convert);
    DUNLIN_OP(broadcast);
    DUNLIN_OP(transpose);
    DUNLIN_OP(pad);
    DUNLIN_OP(reduce);
    DUNLIN_OP(dot);
    DUNLIN_OP(gather);
    DUNLIN_OP(scatter_add);
    DUNLIN_OP(select);
    DUNLIN_OP(compare);
    DUNLIN_OP(top_k);
    DUNLIN_OP(cumsum);
    DUNLIN_OP(unary);
    DUNLIN_OP(binary);
    DUNLIN_OP(state_write);
    DUNLIN_OP(state_read);
#undef DUNLIN_OP
  }
  return "unknown";
}

bool is_basic(Op op) {
  return op >= Op::add;
}

const char* input_name(InputKind kind) {
  switch (kind) {
    case InputKind::tokens:
      return "tokens";
    case InputKind::positions:
      return "positions";
    case InputKind::row_sequences:
      return "row_sequences";
    case InputKind::logit_rows:
      return "logit_rows";
    case InputKind::temperatures:
      return "temperatures";
    case InputKind::random:
      return "random";
  }
  return "unknown";
}

ValueType input_type(InputKind kind) {
  switch (kind) {
    case InputKind::logit_rows:
      return {DType::i32, {Symbol::logit_rows}};
    case InputKind::temperatures:
    case InputKind::random:
      return {DType::f32, {Symbol::logit_rows}};
    case InputKind::tokens:
    case InputKind::positions:
    case InputKind::row_sequences:
      break;
  }
  return {DType::i32, {Symbol::rows}};
}

Dims WeightDeclaration::shape() const {
  Dims shape;
  for (const AxisList& axes : dims) shape.emplace_back(extent(axes));
  return shape;
}

bool Output::is_of_logits() const {
  return name == kLogitsOutput || name == kStatisticsOutput || name == kCandidateIdsOutput ||
         name == kCandidateLogitsOutput;
}

const Output* Program::find_output(const std::string& name) const {
  for (const Output& output : outputs) {
    if (output.name == name) return &output;
  }
  return nullptr;
}

bool Program::has(Op op) const {
  return std::ranges::find(nodes, op, &Node::op) != nodes.end();
}

}  // namespace dunlin

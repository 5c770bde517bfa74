// Op: the operations of a Program. ops.h has their operands and meaning.
#pragma once

#include <cstdint>

namespace dunlin {

enum class Op : uint8_t {
  // Semantic operations, each with a definition in basic operations (definitions.h).
  embed,
  linear,
  rms_norm,
  rope_angles,
  rope,
  attention,
  gated,
  route,
  experts,
  softcap,
  act,
  gather_rows,
  pool,
  logits_view,
  sample,
  tap,
  // Basic operations: definitions and gradients use only these.
  add,
  mul,
  reshape,
  slice,
  concat,
  constant,
  iota,
  convert,
  broadcast,
  transpose,
  pad,
  reduce,
  dot,
  gather,
  scatter_add,
  select,
  compare,
  top_k,
  cumsum,
  unary,
  binary,
  // The only stateful primitives.
  state_write,
  state_read,
};

const char* op_name(Op op);
bool is_basic(Op op);

}  // namespace dunlin

// Names of the logical axes.
#include "program/axis.h"

namespace dunlin {

const char* axis_name(Axis axis) {
  switch (axis) {
    case Axis::vocab:
      return "vocab";
    case Axis::embed:
      return "embed";
    case Axis::kv_heads:
      return "kv_heads";
    case Axis::q_group:
      return "q_group";
    case Axis::head_dim:
      return "head_dim";
    case Axis::ffn:
      return "ffn";
    case Axis::experts:
      return "experts";
  }
  return "unknown";
}

}  // namespace dunlin

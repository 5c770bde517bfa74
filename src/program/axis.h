// Logical axes of weights. A back end for many devices maps them to mesh axes in one table; models
// only name them.
#pragma once

#include <cstdint>
#include <vector>

namespace dunlin {

enum class Axis : uint8_t { vocab, embed, kv_heads, q_group, head_dim, ffn, experts };

const char* axis_name(Axis axis);

struct AxisSize {
  Axis axis;
  int64_t size;
  friend bool operator==(const AxisSize&, const AxisSize&) = default;
};

// One dimension of a weight: the product of its axes, outermost first, e.g. {kv_heads, q_group,
// head_dim} for the rows of a query projection.
using AxisList = std::vector<AxisSize>;

inline int64_t extent(const AxisList& axes) {
  int64_t product = 1;
  for (const AxisSize& axis : axes) product *= axis.size;
  return product;
}

}  // namespace dunlin

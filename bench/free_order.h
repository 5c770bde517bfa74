// What the fixed order of sums costs (docs/decisions/0002-numerics.md): the bf16 `linear` as it would be if
// sums could be in any order, free_order_x86_64.cpp.
#pragma once

namespace dunlin {

// With VDPBF16PS, whose sums are in an order of its own; on a processor without it nothing.
void register_free_order();

}  // namespace dunlin

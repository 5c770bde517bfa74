// View: a dense row-major array owned by someone else.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace dunlin {

using Shape = std::vector<int64_t>;

inline int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

struct View {
  DType dtype = DType::f32;
  Shape shape;  // outermost first
  const void* data = nullptr;

  const float* f32() const { return static_cast<const float*>(data); }
  const int32_t* i32() const { return static_cast<const int32_t*>(data); }
};

}  // namespace dunlin

// Basic operations that move elements without computing.
#include <algorithm>

#include "backend/reference/basic_ops.h"

namespace dunlin::reference {
namespace {

// A shape around one axis: `outer` blocks of `size` slices of `inner` elements.
struct AxisSplit {
  int64_t outer = 1;
  int64_t size = 1;
  int64_t inner = 1;
};

AxisSplit split_at(const Shape& shape, int64_t axis) {
  AxisSplit split;
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto position = static_cast<int64_t>(i);
    (position < axis ? split.outer : position == axis ? split.size : split.inner) *= shape[i];
  }
  return split;
}

// Copies `count` elements from element `from` of x to element `to` of result.
void copy_elements(const Array& x, int64_t from, int64_t count, Array& result, int64_t to) {
  const int64_t width = dtype_bytes(x.dtype());
  std::copy_n(x.bytes() + from * width, count * width, result.bytes() + to * width);
}

}  // namespace

std::vector<int64_t> row_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

Array reshape(const Array& x, const Shape& shape) {
  Array result(x.dtype(), shape);
  copy_elements(x, 0, x.size(), result, 0);
  return result;
}

Array transpose(const Array& x, const PermutationAttributes& attributes, const Shape& shape) {
  const std::vector<int64_t> own = row_major_strides(x.shape());
  std::vector<int64_t> strides(shape.size());
  for (size_t i = 0; i < strides.size(); ++i) {
    strides[i] = own[static_cast<size_t>(attributes.axes[i])];
  }
  Array result(x.dtype(), shape);
  for_each_offset(shape, strides,
                  [&](int64_t i, int64_t offset) { copy_elements(x, offset, 1, result, i); });
  return result;
}

Array slice(const Array& x, const SliceAttributes& attributes, const Shape& shape) {
  const AxisSplit from = split_at(x.shape(), attributes.axis);
  const AxisSplit to = split_at(shape, attributes.axis);
  Array result(x.dtype(), shape);
  for (int64_t outer = 0; outer < to.outer; ++outer) {
    for (int64_t i = 0; i < to.size; ++i) {
      const int64_t source = attributes.begin + i * attributes.stride;
      copy_elements(x, (outer * from.size + source) * from.inner, from.inner, result,
                    (outer * to.size + i) * to.inner);
    }
  }
  return result;
}

Array pad(const Array& x, const PadAttributes& attributes, const Shape& shape) {
  const AxisSplit from = split_at(x.shape(), attributes.axis);
  const AxisSplit to = split_at(shape, attributes.axis);
  Array result = constant({{attributes.value}}, x.dtype(), shape);
  for (int64_t outer = 0; outer < from.outer; ++outer) {
    copy_elements(x, outer * from.size * from.inner, from.size * from.inner, result,
                  (outer * to.size + attributes.before) * to.inner);
  }
  return result;
}

Array concat(const std::vector<const Array*>& parts, int64_t axis, const Shape& shape) {
  const AxisSplit to = split_at(shape, axis);
  Array result(parts.front()->dtype(), shape);
  int64_t begin = 0;
  for (const Array* part : parts) {
    const AxisSplit from = split_at(part->shape(), axis);
    for (int64_t outer = 0; outer < from.outer; ++outer) {
      copy_elements(*part, outer * from.size * from.inner, from.size * from.inner, result,
                    (outer * to.size + begin) * to.inner);
    }
    begin += from.size;
  }
  return result;
}

Array gather(const Array& x, const Array& indices, int64_t axis, const Shape& shape) {
  const AxisSplit from = split_at(x.shape(), axis);
  Array result(x.dtype(), shape);
  for (int64_t outer = 0; outer < from.outer; ++outer) {
    for (int64_t i = 0; i < indices.size(); ++i) {
      const int64_t index = std::clamp<int64_t>(indices.i32()[i], 0, from.size - 1);
      copy_elements(x, (outer * from.size + index) * from.inner, from.inner, result,
                    (outer * indices.size() + i) * from.inner);
    }
  }
  return result;
}

}  // namespace dunlin::reference

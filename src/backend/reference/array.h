// Array: a dense row-major value of the reference executor that owns its elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace dunlin::reference {

class Array {
 public:
  Array() = default;
  Array(DType dtype, Shape shape)
      : dtype_(dtype),
        shape_(std::move(shape)),
        size_(element_count(shape_)),
        bytes_(static_cast<size_t>(size_ * dtype_bytes(dtype))) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return size_; }  // elements
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t axis) const { return shape_[static_cast<size_t>(axis)]; }
  int64_t last_dim() const { return shape_.empty() ? 1 : shape_.back(); }

  // Elements as T: float for f32, int32_t for i32, uint8_t (0 or 1) for boolean.
  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(bytes_.data());
  }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes_.data());
  }
  float* f32() { return data<float>(); }
  const float* f32() const { return data<float>(); }
  int32_t* i32() { return data<int32_t>(); }
  const int32_t* i32() const { return data<int32_t>(); }
  uint8_t* boolean() { return data<uint8_t>(); }
  const uint8_t* boolean() const { return data<uint8_t>(); }

  const std::byte* bytes() const { return bytes_.data(); }
  std::byte* bytes() { return bytes_.data(); }
  View view() const { return {dtype_, shape_, bytes_.data()}; }

 private:
  DType dtype_ = DType::f32;
  Shape shape_;
  int64_t size_ = 0;
  std::vector<std::byte> bytes_;
};

// Elements between neighbours along each axis of a row-major array.
std::vector<int64_t> row_major_strides(const Shape& shape);

// Calls fn(i, offset) for every element i of `shape` in row-major order, with offset = the sum of
// index[axis] * strides[axis].
template <typename Function>
void for_each_offset(const Shape& shape, const std::vector<int64_t>& strides, Function fn) {
  const int64_t count = element_count(shape);
  std::vector<int64_t> index(shape.size(), 0);
  int64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    fn(i, offset);
    for (size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace dunlin::reference

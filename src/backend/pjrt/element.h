// Element: the element types of device arrays, and TensorType: an element type and sizes.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace dunlin::pjrt {

enum class Element : uint8_t { f32, f16, bf16, i32, i1 };

int64_t element_bytes(Element element);
const char* element_name(Element element);  // as StableHLO writes it: "bf16"
Element element_of(DType dtype);
inline bool is_float(Element element) {
  return element != Element::i32 && element != Element::i1;
}

struct TensorType {
  Element element = Element::f32;
  Shape dims = {};

  int64_t bytes() const { return element_count(dims) * element_bytes(element); }
  std::string text() const;  // "tensor<8x64xf32>"
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

}  // namespace dunlin::pjrt

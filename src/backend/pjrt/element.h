// Element: the element types of device arrays, and TensorType: an element type and sizes.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace dunlin::pjrt {

// i4, u4 and f4 (E2M1) have four bits.
enum class Element : uint8_t { f32, f16, bf16, i32, i8, u8, i4, u4, f4, i1 };

int64_t element_bits(Element element);  // in the memory of a device
// In the memory of the host, where an element of four bits is the low half of a byte: plug-ins pack
// and unpack them (openxla/xla, xla/pjrt/cpu/raw_buffer.cc).
int64_t element_bytes(Element element);
const char* element_name(Element element);  // as StableHLO writes it: "bf16"
Element element_of(DType dtype);
inline bool is_float(Element element) {
  return element == Element::f32 || element == Element::f16 || element == Element::bf16 ||
         element == Element::f4;
}

struct TensorType {
  Element element = Element::f32;
  Shape dims = {};

  int64_t bytes() const { return element_count(dims) * element_bytes(element); }  // on the host
  int64_t device_bytes() const { return (element_count(dims) * element_bits(element) + 7) / 8; }
  std::string text() const;  // "tensor<8x64xf32>"
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

}  // namespace dunlin::pjrt

#include "backend/pjrt/element.h"

#include "base/check.h"

namespace dunlin::pjrt {

int64_t element_bits(Element element) {
  switch (element) {
    case Element::f32:
    case Element::i32:
      return 32;
    case Element::f16:
    case Element::bf16:
      return 16;
    case Element::i4:
    case Element::u4:
    case Element::f4:
      return 4;
    case Element::i8:
    case Element::u8:
    case Element::i1:
      break;
  }
  return 8;
}

int64_t element_bytes(Element element) {
  return (element_bits(element) + 7) / 8;
}

const char* element_name(Element element) {
  switch (element) {
    case Element::f32:
      return "f32";
    case Element::f16:
      return "f16";
    case Element::bf16:
      return "bf16";
    case Element::i32:
      return "i32";
    case Element::i8:
      return "i8";
    case Element::u8:
      return "ui8";
    case Element::i4:
      return "i4";
    case Element::u4:
      return "ui4";
    case Element::f4:
      return "f4E2M1FN";
    case Element::i1:
      break;
  }
  return "i1";
}

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Element::f32;
    case DType::i32:
      return Element::i32;
    case DType::boolean:
      break;
  }
  return Element::i1;
}

std::string TensorType::text() const {
  std::string text = "tensor<";
  for (const int64_t dim : dims) text += std::to_string(dim) + "x";
  return text + element_name(element) + ">";
}

}  // namespace dunlin::pjrt

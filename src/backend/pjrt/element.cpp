#include "backend/pjrt/element.h"

#include "base/check.h"

namespace dunlin::pjrt {

int64_t element_bytes(Element element) {
  switch (element) {
    case Element::f32:
    case Element::i32:
      return 4;
    case Element::f16:
    case Element::bf16:
      return 2;
    case Element::i1:
      break;
  }
  return 1;
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

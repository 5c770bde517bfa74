// DType: the element types of values between operations. Weights have formats instead
// (formats/format.h).
#pragma once

#include <cstdint>

namespace dunlin {

enum class DType : uint8_t { f32, i32, boolean };

constexpr int64_t dtype_bytes(DType type) {
  return type == DType::boolean ? 1 : 4;
}
constexpr const char* dtype_name(DType type) {
  return type == DType::f32 ? "f32" : type == DType::i32 ? "i32" : "bool";
}

}  // namespace dunlin

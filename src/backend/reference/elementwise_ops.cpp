// Basic operations that compute each element of the result alone.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "backend/reference/basic_ops.h"
#include "base/check.h"
#include "base/scalar_math.h"

namespace dunlin::reference {
namespace {

// Offsets of `operand`'s element for each element of `shape`: trailing dimensions align, size 1
// repeats.
std::vector<int64_t> broadcast_strides(const Shape& operand, const Shape& shape) {
  const std::vector<int64_t> own = row_major_strides(operand);
  std::vector<int64_t> strides(shape.size(), 0);
  const size_t missing = shape.size() - operand.size();
  for (size_t axis = 0; axis < operand.size(); ++axis) {
    if (operand[axis] != 1) strides[missing + axis] = own[axis];
  }
  return strides;
}

// `x` repeated to `shape`; x itself when it has that shape (held through `storage` otherwise).
const Array& expanded(const Array& x, const Shape& shape, Array& storage) {
  if (x.shape() == shape) return x;
  storage = broadcast(x, shape);
  return storage;
}

// result[i] = fn(a[i], b[i]) with T the operands' and U the result's element type.
template <typename T, typename U, typename Function>
Array map_pairs(const Array& a, const Array& b, DType result_type, const Shape& shape,
                Function fn) {
  Array a_storage;
  Array b_storage;
  const T* left = expanded(a, shape, a_storage).data<T>();
  const T* right = expanded(b, shape, b_storage).data<T>();
  Array result(result_type, shape);
  U* out = result.data<U>();
  for (int64_t i = 0; i < result.size(); ++i) out[i] = fn(left[i], right[i]);
  return result;
}

template <typename T, typename Function>
Array map_elements(const Array& x, Function fn) {
  Array result(x.dtype(), x.shape());
  const T* in = x.data<T>();
  T* out = result.data<T>();
  for (int64_t i = 0; i < x.size(); ++i) out[i] = fn(in[i]);
  return result;
}

// a op b on unsigned integers wraps around instead of overflowing.
int32_t wrap(uint32_t value) {
  return static_cast<int32_t>(value);
}
uint32_t bits(int32_t value) {
  return static_cast<uint32_t>(value);
}

int32_t divide(int32_t a, int32_t b) {
  if (b == 0) return 0;
  return b == -1 ? wrap(0u - bits(a)) : a / b;
}

int32_t shift(int32_t value, int32_t by, bool left) {
  if (by < 0 || by >= 32) return 0;
  return wrap(left ? bits(value) << by : bits(value) >> by);
}

float binary_element(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::sub:
      return a - b;
    case BinaryKind::div:
      return a / b;
    case BinaryKind::max:
      return std::max(a, b);
    case BinaryKind::min:
      return std::min(a, b);
    default:
      break;
  }
  DUNLIN_CHECK(false, "a logical operation or shift of float32 values");
  return 0.0f;
}

int32_t binary_element(BinaryKind kind, int32_t a, int32_t b) {
  switch (kind) {
    case BinaryKind::sub:
      return wrap(bits(a) - bits(b));
    case BinaryKind::div:
      return divide(a, b);
    case BinaryKind::max:
      return std::max(a, b);
    case BinaryKind::min:
      return std::min(a, b);
    case BinaryKind::logical_and:
      return a & b;
    case BinaryKind::logical_or:
      return a | b;
    case BinaryKind::shift_left:
      return shift(a, b, true);
    case BinaryKind::shift_right:
      break;
  }
  return shift(a, b, false);
}

template <typename T>
bool compare_elements(CompareKind kind, T a, T b) {
  switch (kind) {
    case CompareKind::eq:
      return a == b;
    case CompareKind::ne:
      return a != b;
    case CompareKind::lt:
      return a < b;
    case CompareKind::le:
      return a <= b;
    case CompareKind::gt:
      return a > b;
    case CompareKind::ge:
      break;
  }
  return a >= b;
}

float unary_element(UnaryKind kind, float x) {
  constexpr float kLargestAngle = 67108864.0f;  // 2^26, the range of cos_sin_f32
  const bool angle = std::fabs(x) < kLargestAngle;
  switch (kind) {
    case UnaryKind::neg:
      return -x;
    case UnaryKind::exp:
      return exp_f32(x);
    case UnaryKind::log:
      return static_cast<float>(std::log(static_cast<double>(x)));
    case UnaryKind::sqrt:
      return std::sqrt(x);
    case UnaryKind::sin:
      return angle ? cos_sin_f32(x).sin : std::numeric_limits<float>::quiet_NaN();
    case UnaryKind::cos:
      return angle ? cos_sin_f32(x).cos : std::numeric_limits<float>::quiet_NaN();
    case UnaryKind::abs:
      return std::fabs(x);
    case UnaryKind::logical_not:
      break;
  }
  DUNLIN_CHECK(false, "logical_not of a float32 value");
  return 0.0f;
}

int32_t unary_element(UnaryKind kind, int32_t x) {
  if (kind == UnaryKind::neg) return wrap(0u - bits(x));
  DUNLIN_CHECK(kind == UnaryKind::abs, "this function is not defined for integers");
  return x < 0 ? wrap(0u - bits(x)) : x;
}

int32_t to_integer(double value) {
  if (std::isnan(value)) return 0;
  const double lowest = std::numeric_limits<int32_t>::min();
  const double highest = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::clamp(value, lowest, highest));
}

// Element i of x, exactly: every float32, int32 and boolean is a double.
double element(const Array& x, int64_t i) {
  if (x.dtype() == DType::f32) return static_cast<double>(x.f32()[i]);
  return x.dtype() == DType::i32 ? x.i32()[i] : x.boolean()[i];
}

void set_element(Array& x, int64_t i, double value) {
  if (x.dtype() == DType::f32) {
    x.f32()[i] = static_cast<float>(value);
  } else if (x.dtype() == DType::i32) {
    x.i32()[i] = to_integer(value);
  } else {
    x.boolean()[i] = value != 0.0 ? 1 : 0;
  }
}

}  // namespace

Array broadcast(const Array& x, const Shape& shape) {
  Array result(x.dtype(), shape);
  const int64_t width = dtype_bytes(x.dtype());
  const auto copy = [&](int64_t i, int64_t offset) {
    std::copy_n(x.bytes() + offset * width, width, result.bytes() + i * width);
  };
  for_each_offset(shape, broadcast_strides(x.shape(), shape), copy);
  return result;
}

Array add(const Array& a, const Array& b, const Shape& shape) {
  if (a.dtype() == DType::f32) {
    return map_pairs<float, float>(a, b, DType::f32, shape, [](float x, float y) { return x + y; });
  }
  return map_pairs<int32_t, int32_t>(a, b, DType::i32, shape,
                                     [](int32_t x, int32_t y) { return wrap(bits(x) + bits(y)); });
}

Array mul(const Array& a, const Array& b, const Shape& shape) {
  if (a.dtype() == DType::f32) {
    return map_pairs<float, float>(a, b, DType::f32, shape, [](float x, float y) { return x * y; });
  }
  return map_pairs<int32_t, int32_t>(a, b, DType::i32, shape,
                                     [](int32_t x, int32_t y) { return wrap(bits(x) * bits(y)); });
}

Array binary(BinaryKind kind, const Array& a, const Array& b, const Shape& shape) {
  const auto apply = [kind](auto x, auto y) { return binary_element(kind, x, y); };
  if (a.dtype() == DType::f32) return map_pairs<float, float>(a, b, DType::f32, shape, apply);
  if (a.dtype() == DType::i32) return map_pairs<int32_t, int32_t>(a, b, DType::i32, shape, apply);
  return map_pairs<uint8_t, uint8_t>(a, b, DType::boolean, shape, [kind](uint8_t x, uint8_t y) {
    return static_cast<uint8_t>(binary_element(kind, int32_t{x}, int32_t{y}));
  });
}

Array compare(CompareKind kind, const Array& a, const Array& b, const Shape& shape) {
  const auto apply = [kind](auto x, auto y) {
    return static_cast<uint8_t>(compare_elements(kind, x, y));
  };
  if (a.dtype() == DType::f32) return map_pairs<float, uint8_t>(a, b, DType::boolean, shape, apply);
  if (a.dtype() == DType::i32) {
    return map_pairs<int32_t, uint8_t>(a, b, DType::boolean, shape, apply);
  }
  return map_pairs<uint8_t, uint8_t>(a, b, DType::boolean, shape, apply);
}

Array select(const Array& condition, const Array& when_true, const Array& when_false,
             const Shape& shape) {
  Array storage[3];
  const Array& choice = expanded(condition, shape, storage[0]);
  const Array& yes = expanded(when_true, shape, storage[1]);
  const Array& no = expanded(when_false, shape, storage[2]);
  Array result(when_true.dtype(), shape);
  const int64_t width = dtype_bytes(result.dtype());
  for (int64_t i = 0; i < result.size(); ++i) {
    const Array& from = choice.boolean()[i] != 0 ? yes : no;
    std::copy_n(from.bytes() + i * width, width, result.bytes() + i * width);
  }
  return result;
}

Array unary(UnaryKind kind, const Array& x) {
  const auto apply = [kind](auto value) { return unary_element(kind, value); };
  if (x.dtype() == DType::f32) return map_elements<float>(x, apply);
  if (x.dtype() == DType::i32) return map_elements<int32_t>(x, apply);
  DUNLIN_CHECK(kind == UnaryKind::logical_not, "this function is not defined for booleans");
  return map_elements<uint8_t>(x, [](uint8_t v) { return static_cast<uint8_t>(v == 0 ? 1 : 0); });
}

Array convert(const Array& x, DType to) {
  Array result(to, x.shape());
  for (int64_t i = 0; i < x.size(); ++i) set_element(result, i, element(x, i));
  return result;
}

Array constant(const ConstAttributes& attributes, DType dtype, const Shape& shape) {
  Array result(dtype, shape);
  const bool one = attributes.values.size() == 1;
  for (int64_t i = 0; i < result.size(); ++i) {
    set_element(result, i, attributes.values[one ? 0 : static_cast<size_t>(i)]);
  }
  return result;
}

Array iota(int64_t axis, DType dtype, const Shape& shape) {
  Array result(dtype, shape);
  std::vector<int64_t> strides(shape.size(), 0);
  strides[static_cast<size_t>(axis)] = 1;
  for_each_offset(shape, strides, [&](int64_t i, int64_t index) {
    set_element(result, i, static_cast<double>(index));
  });
  return result;
}

}  // namespace dunlin::reference

// Basic operations that combine elements: sums, contractions, scatters and orders.
#include <algorithm>
#include <limits>

#include "backend/reference/basic_ops.h"
#include "backend/reference/scalar.h"
#include "base/check.h"

namespace dunlin::reference {
namespace {

// Brings the axes `kept` and then `last` of x to the front and the back.
Array with_axes_last(const Array& x, const std::vector<int64_t>& kept,
                     const std::vector<int64_t>& last) {
  PermutationAttributes order{kept};
  order.axes.insert(order.axes.end(), last.begin(), last.end());
  Shape shape;
  for (const int64_t axis : order.axes) shape.push_back(x.dim(axis));
  return transpose(x, order, shape);
}

int64_t product_of_dims(const Array& x, const std::vector<int64_t>& axes) {
  int64_t product = 1;
  for (const int64_t axis : axes) product *= x.dim(axis);
  return product;
}

// Axes of x in neither list, ascending.
std::vector<int64_t> free_axes(const Array& x, const std::vector<int64_t>& a,
                               const std::vector<int64_t>& b) {
  std::vector<int64_t> free;
  for (int64_t axis = 0; axis < x.rank(); ++axis) {
    const bool used = std::find(a.begin(), a.end(), axis) != a.end() ||
                      std::find(b.begin(), b.end(), axis) != b.end();
    if (!used) free.push_back(axis);
  }
  return free;
}

Array axis_last(const Array& x, int64_t axis) {
  return with_axes_last(x, free_axes(x, {axis}, {}), {axis});
}

int32_t sum_integers(const int32_t* values, int64_t count) {
  uint32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<uint32_t>(values[i]);
  return static_cast<int32_t>(sum);
}

template <typename T>
T largest(const T* values, int64_t count) {
  T result = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                  : std::numeric_limits<T>::lowest();
  for (int64_t i = 0; i < count; ++i) result = std::max(result, values[i]);
  return result;
}

template <typename T, typename Add>
void cumulate(const T* in, int64_t outer, int64_t size, int64_t inner, T* out, Add add) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < inner; ++j) {
        const int64_t at = (o * size + i) * inner + j;
        out[at] = i == 0 ? in[at] : add(out[at - inner], in[at]);
      }
    }
  }
}

int32_t add_wrapping(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

}  // namespace

Array reduce(const Array& x, const ReduceAttributes& attributes, const Shape& shape) {
  const Array rows = axis_last(x, attributes.axis);
  const int64_t width = rows.last_dim();
  Array result(x.dtype(), shape);
  const bool sum = attributes.kind == ReduceAttributes::Kind::sum;
  DUNLIN_CHECK(x.dtype() != DType::boolean, "a reduction of booleans");
  for (int64_t i = 0; i < result.size(); ++i) {
    if (x.dtype() == DType::f32) {
      const float* row = rows.f32() + i * width;
      result.f32()[i] = sum ? lane_sum(row, width) : largest(row, width);
    } else {
      const int32_t* row = rows.i32() + i * width;
      result.i32()[i] = sum ? sum_integers(row, width) : largest(row, width);
    }
  }
  return result;
}

Array dot(const Array& a, const Array& b, const DotAttributes& attributes, const Shape& shape) {
  const std::vector<int64_t> free_left =
      free_axes(a, attributes.batch_left, attributes.contract_left);
  const std::vector<int64_t> free_right =
      free_axes(b, attributes.batch_right, attributes.contract_right);
  const int64_t batch = product_of_dims(a, attributes.batch_left);
  const int64_t left_rows = product_of_dims(a, free_left);
  const int64_t right_rows = product_of_dims(b, free_right);
  const int64_t contracted = product_of_dims(a, attributes.contract_left);
  std::vector<int64_t> kept_left = attributes.batch_left;
  kept_left.insert(kept_left.end(), free_left.begin(), free_left.end());
  std::vector<int64_t> kept_right = attributes.batch_right;
  kept_right.insert(kept_right.end(), free_right.begin(), free_right.end());
  const Array left = with_axes_last(a, kept_left, attributes.contract_left);
  const Array right = with_axes_last(b, kept_right, attributes.contract_right);
  Array result(DType::f32, shape);
  float* out = result.f32();
  for (int64_t group = 0; group < batch; ++group) {
    for (int64_t i = 0; i < left_rows; ++i) {
      const float* x = left.f32() + (group * left_rows + i) * contracted;
      for (int64_t j = 0; j < right_rows; ++j) {
        *out++ = chain_dot(x, right.f32() + (group * right_rows + j) * contracted, contracted);
      }
    }
  }
  return result;
}

Array scatter_add(const Array& into, const Array& indices, const Array& updates) {
  Array result = into;
  const int64_t rows = into.dim(0);
  const int64_t width = rows == 0 ? 0 : into.size() / rows;
  for (int64_t i = 0; i < indices.size(); ++i) {
    const int64_t row = indices.i32()[i];
    if (row < 0 || row >= rows) continue;
    for (int64_t j = 0; j < width; ++j) {
      const int64_t to = row * width + j;
      const int64_t from = i * width + j;
      if (into.dtype() == DType::f32) {
        result.f32()[to] = result.f32()[to] + updates.f32()[from];
      } else {
        result.i32()[to] = add_wrapping(result.i32()[to], updates.i32()[from]);
      }
    }
  }
  return result;
}

Array cumsum(const Array& x, int64_t axis) {
  Array result(x.dtype(), x.shape());
  int64_t outer = 1;
  for (int64_t i = 0; i < axis; ++i) outer *= x.dim(i);
  const int64_t size = x.dim(axis);
  const int64_t inner = outer * size == 0 ? 0 : x.size() / (outer * size);
  if (x.dtype() == DType::f32) {
    cumulate(x.f32(), outer, size, inner, result.f32(), [](float a, float b) { return a + b; });
  } else {
    cumulate(x.i32(), outer, size, inner, result.i32(), add_wrapping);
  }
  return result;
}

void top_k(const Array& x, int64_t k, Array& values, Array& indices) {
  const int64_t width = x.last_dim();
  DUNLIN_CHECK(k <= width, "top_k of fewer elements than k");
  for (int64_t row = 0; row < values.size() / k; ++row) {
    top_k(x.f32() + row * width, width, k, indices.i32() + row * k, values.f32() + row * k);
  }
}

}  // namespace dunlin::reference

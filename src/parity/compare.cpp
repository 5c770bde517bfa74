#include "parity/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace dunlin {
namespace {

std::string index_text(const Shape& shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (size_t axis = shape.size(); axis > 0; --axis) {
    index[axis - 1] = flat % shape[axis - 1];
    flat /= shape[axis - 1];
  }
  return fmt::format("[{}]", fmt::join(index, ","));
}

ParityRow compare_floats(const std::string& name, const Array& ours, const Array& reference,
                         double tolerance) {
  ParityRow row{.name = name};
  if (ours.shape != reference.shape || reference.dtype != DType::f32) {
    row.max_abs_diff = std::numeric_limits<double>::infinity();
    row.where = fmt::format("shape [{}], reference [{}]", fmt::join(ours.shape, ","),
                            fmt::join(reference.shape, ","));
    return row;
  }
  double scale = 1.0;
  int64_t worst = -1;
  for (size_t i = 0; i < ours.floats.size(); ++i) {
    const double wanted = static_cast<double>(reference.floats[i]);
    const double difference = std::abs(static_cast<double>(ours.floats[i]) - wanted);
    if (std::isfinite(wanted)) scale = std::max(scale, std::abs(wanted));
    // A NaN is the largest difference there is.
    if (worst < 0 || !(difference <= row.max_abs_diff)) {
      row.max_abs_diff =
          std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
      worst = static_cast<int64_t>(i);
    }
  }
  row.allowed = tolerance * scale;
  // An infinite reference allows any difference, but is never met.
  row.pass = std::isfinite(row.max_abs_diff) && row.max_abs_diff <= row.allowed;
  if (worst >= 0) {
    const auto at = static_cast<size_t>(worst);
    row.where = fmt::format("{}: {}, reference {}", index_text(ours.shape, worst), ours.floats[at],
                            reference.floats[at]);
  }
  return row;
}

ParityRow compare_ids(const std::string& name, const std::vector<int32_t>& ours,
                      const std::vector<int32_t>& reference) {
  ParityRow row{.name = name, .pass = ours == reference};
  for (size_t i = 0; i < std::min(ours.size(), reference.size()); ++i) {
    if (ours[i] == reference[i]) continue;
    row.max_abs_diff = std::abs(static_cast<double>(ours[i]) - static_cast<double>(reference[i]));
    row.where = fmt::format("[{}]: {}, reference {}", i, ours[i], reference[i]);
    break;
  }
  return row;
}

}  // namespace

ParityRow compare_arrays(const std::string& name, const Array& ours, const Array& reference,
                         double tolerance) {
  return ours.dtype == DType::i32 ? compare_ids(name, ours.integers, reference.integers)
                                  : compare_floats(name, ours, reference, tolerance);
}

}  // namespace dunlin

#include "convert/row_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>

#include "base/check.h"

namespace dunlin {
namespace {

// Values of at least this magnitude have no finite form: F16 rounds them to infinity, and so do the
// scales of the block formats, which are F16 too. Nothing: the format holds all values, NaN too.
std::optional<float> magnitude_limit(const FormatTraits& format) {
  const bool wide_scales = format.largest > 0.0f || format.format == Format::mxfp4;
  if (wide_scales) return std::numeric_limits<float>::max();
  if (format.format == Format::f32 || format.format == Format::bf16) return std::nullopt;
  return 65520.0f;
}

// The row of the view that is written as row `row`.
int64_t source_row(int64_t row, int64_t head_dim) {
  const int64_t within = row % head_dim;
  return row - within + within % 2 * (head_dim / 2) + within / 2;
}

// Of a vector the elements are rows.
Result<void> read_interleaved_vector(const WeightView& view, int64_t head_dim,
                                     std::span<std::byte> into) {
  const auto element = static_cast<size_t>(traits(view.format).block_bytes);
  DUNLIN_CHECK(traits(view.format).block_elements == 1, "biases are plain numbers");
  std::vector<std::byte> canonical(into.size());
  DUNLIN_RETURN_IF_ERROR(view.read_rows(0, 1, canonical));
  for (int64_t i = 0; i < view.columns; ++i) {
    std::memcpy(into.data() + static_cast<size_t>(i) * element,
                canonical.data() + static_cast<size_t>(source_row(i, head_dim)) * element, element);
  }
  return {};
}

}  // namespace

// In the order they are written.
Result<void> RowEncoder::read(int64_t first, int64_t count, std::span<std::byte> into) const {
  const int64_t head_dim = target_.interleaved_head_dim;
  if (head_dim == 0) return view_.read_rows(first, count, into);
  if (view_.rows == 1) return read_interleaved_vector(view_, head_dim, into);
  const auto bytes = static_cast<size_t>(view_.bytes_per_row());
  for (int64_t i = 0; i < count; ++i) {
    DUNLIN_RETURN_IF_ERROR(view_.read_rows(source_row(first + i, head_dim), 1,
                                           into.subspan(static_cast<size_t>(i) * bytes, bytes)));
  }
  return {};
}

Result<void> RowEncoder::load(int64_t first, int64_t count) {
  const FormatTraits& to = *target_.form.format;
  stored_.resize(static_cast<size_t>(count * view_.bytes_per_row()));
  values_.resize(static_cast<size_t>(count * view_.columns));
  DUNLIN_RETURN_IF_ERROR(read(first, count, stored_));
  view_.row_form().decode(stored_.data(), count, values_.data());
  const auto limit = magnitude_limit(to);
  if (!limit) return {};
  const auto unfit = std::ranges::find_if(
      values_, [most = *limit](float value) { return !(std::abs(value) < most); });
  if (unfit == values_.end()) return {};
  return model_error(fmt::format("{}: the tensor {} holds {} in row {}, which {} cannot hold",
                                 view_.source->name(), view_.name, *unfit,
                                 first + (unfit - values_.begin()) / view_.columns, to.name));
}

Result<void> RowEncoder::encode(int64_t first, int64_t count, std::byte* rows) {
  const RowForm& form = target_.form;
  const auto bytes = static_cast<size_t>(form.bytes());
  if (form.scale_columns > 0) return encode_scaled(first, count, rows);
  if (view_.format == form.format->format && view_.scale_columns == 0)
    return read(first, count, {rows, static_cast<size_t>(count) * bytes});
  const int64_t step = std::max<int64_t>(1, encoded_elements(view_) / view_.columns);
  for (int64_t row = first; row < first + count; row += step) {
    const int64_t some = std::min(step, first + count - row);
    DUNLIN_RETURN_IF_ERROR(load(row, some));
    std::byte* const out = rows + static_cast<size_t>(row - first) * bytes;
    if (target_.importance.empty()) {
      form.format->encode(values_.data(), some * view_.columns, nullptr, out);
      continue;
    }
    const int64_t stack_rows = view_.rows * view_.columns / std::ssize(target_.importance);
    for (int64_t i = 0; i < some; ++i) {
      const float* const importance =
          target_.importance.data() + (row + i) / stack_rows * view_.columns;
      form.format->encode(values_.data() + i * view_.columns, view_.columns, importance,
                          out + static_cast<size_t>(i) * bytes);
    }
  }
  return {};
}

Result<void> RowEncoder::encode_scaled(int64_t first, int64_t count, std::byte* rows) {
  const RowForm& form = target_.form;
  std::vector<float> scales(static_cast<size_t>(form.scales()));
  const int64_t end = first + count;
  for (int64_t row = first; row < end;) {
    const int64_t block = row / target_.scale_rows * target_.scale_rows;
    const int64_t block_end = std::min(view_.rows, block + target_.scale_rows);
    DUNLIN_RETURN_IF_ERROR(load(block, block_end - block));
    form.find_scales(values_.data(), block_end - block, scales.data());
    for (; row < std::min(end, block_end); ++row) {
      form.encode(values_.data() + (row - block) * view_.columns, scales.data(),
                  rows + (row - first) * form.bytes());
    }
  }
  return {};
}

Result<void> RowEncoder::find_scales(int64_t first, int64_t count, float* scales) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = (first + i) * target_.scale_rows;
    const int64_t rows = std::min(target_.scale_rows, view_.rows - row);
    DUNLIN_RETURN_IF_ERROR(load(row, rows));
    target_.form.find_scales(values_.data(), rows, scales + i * target_.form.scales());
  }
  return {};
}

}  // namespace dunlin

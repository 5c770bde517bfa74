#include "convert/tensor_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr int64_t kPieceElements = 1 << 20;
constexpr int64_t kTaskElements = 1 << 14;

// Values of at least this magnitude have no finite form: F16 rounds them to infinity, and so do the
// scales of the block formats, which are F16 too. Nothing: the format holds all values, NaN too.
std::optional<float> magnitude_limit(Format format) {
  switch (format) {
    case Format::f32:
    case Format::bf16:
      return std::nullopt;
    case Format::mxfp4:
      return std::numeric_limits<float>::max();
    default:
      return 65520.0f;
  }
}

// The first value that `format` cannot hold, or the end.
std::span<const float>::iterator find_unfit(std::span<const float> values, Format format) {
  const auto limit = magnitude_limit(format);
  if (!limit) return values.end();
  return std::ranges::find_if(values,
                              [most = *limit](float value) { return !(std::abs(value) < most); });
}

// The row of the view that is written as row `row`.
int64_t source_row(const TensorPlan& plan, int64_t row) {
  const int64_t head_dim = plan.interleaved_head_dim;
  if (head_dim == 0) return row;
  const int64_t within = row % head_dim;
  return row - within + within % 2 * (head_dim / 2) + within / 2;
}

// Of a vector the elements are rows.
Result<void> read_interleaved_vector(const TensorPlan& plan, std::span<std::byte> into) {
  const auto element = static_cast<size_t>(traits(plan.view.format).block_bytes);
  DUNLIN_CHECK(traits(plan.view.format).block_elements == 1, "biases are plain numbers");
  std::vector<std::byte> canonical(into.size());
  DUNLIN_RETURN_IF_ERROR(plan.view.read_rows(0, 1, canonical));
  for (int64_t i = 0; i < plan.view.columns; ++i) {
    std::memcpy(into.data() + static_cast<size_t>(i) * element,
                canonical.data() + static_cast<size_t>(source_row(plan, i)) * element, element);
  }
  return {};
}

// Rows [first, first + count) in the order they are written.
Result<void> read_rows(const TensorPlan& plan, int64_t first, int64_t count,
                       std::span<std::byte> into) {
  const WeightView& view = plan.view;
  if (plan.interleaved_head_dim == 0) return view.read_rows(first, count, into);
  if (view.rows == 1) return read_interleaved_vector(plan, into);
  const auto bytes = static_cast<size_t>(view.bytes_per_row());
  for (int64_t i = 0; i < count; ++i) {
    DUNLIN_RETURN_IF_ERROR(view.read_rows(source_row(plan, first + i), 1,
                                          into.subspan(static_cast<size_t>(i) * bytes, bytes)));
  }
  return {};
}

// `values` are rows of plan.view.columns elements.
void encode(const TensorPlan& plan, std::span<const float> values, std::byte* blocks) {
  const FormatTraits& to = traits(plan.format);
  if (plan.importance.empty()) {
    to.encode(values.data(), static_cast<int64_t>(values.size()), nullptr, blocks);
    return;
  }
  const auto columns = static_cast<size_t>(plan.view.columns);
  const auto bytes = static_cast<size_t>(row_bytes(to, plan.view.columns));
  for (size_t row = 0; row * columns < values.size(); ++row) {
    to.encode(values.data() + row * columns, plan.view.columns, plan.importance.data(),
              blocks + row * bytes);
  }
}

}  // namespace

TensorStream::TensorStream(ThreadPool& pool)
    : pool_(pool), scratch_(static_cast<size_t>(pool.threads())) {}

Result<void> TensorStream::write(const TensorPlan& plan, const TakeBytes& take) {
  const WeightView& view = plan.view;
  const auto rows_of = [&view](int64_t elements) {
    return std::clamp<int64_t>(elements / view.columns, 1, view.rows);
  };
  const int64_t rows_per_task = rows_of(kTaskElements);
  for (Scratch& scratch : scratch_) {
    scratch.stored.resize(static_cast<size_t>(rows_per_task * view.bytes_per_row()));
    scratch.values.resize(static_cast<size_t>(rows_per_task * view.columns));
  }
  const int64_t step = std::max(rows_per_task, rows_of(kPieceElements));
  for (int64_t row = 0; row < view.rows; row += step) {
    DUNLIN_RETURN_IF_ERROR(
        encode_piece(plan, {row, std::min(step, view.rows - row), rows_per_task}));
    DUNLIN_RETURN_IF_ERROR(take(encoded_));
  }
  return {};
}

Result<void> TensorStream::encode_piece(const TensorPlan& plan, const Piece& piece) {
  const WeightView& view = plan.view;
  const auto bytes_per_row = static_cast<size_t>(row_bytes(traits(plan.format), view.columns));
  encoded_.resize(static_cast<size_t>(piece.rows) * bytes_per_row);

  const auto encode_rows = [&](int64_t first, int64_t count, Scratch& scratch) -> Result<void> {
    const auto out = std::span(encoded_).subspan(static_cast<size_t>(first) * bytes_per_row,
                                                 static_cast<size_t>(count) * bytes_per_row);
    const int64_t row = piece.first_row + first;
    if (view.format == plan.format) return read_rows(plan, row, count, out);
    const auto stored =
        std::span(scratch.stored).first(static_cast<size_t>(count * view.bytes_per_row()));
    const auto values = std::span(scratch.values).first(static_cast<size_t>(count * view.columns));
    DUNLIN_RETURN_IF_ERROR(read_rows(plan, row, count, stored));
    traits(view.format).decode(stored.data(), count * view.columns, values.data());
    const std::span<const float> decoded = values;
    const auto unfit = find_unfit(decoded, plan.format);
    if (unfit != decoded.end()) {
      return model_error(fmt::format("{}: the tensor {} holds {} in row {}, which {} cannot hold",
                                     view.source->name(), view.name, *unfit,
                                     row + (unfit - decoded.begin()) / view.columns,
                                     traits(plan.format).name));
    }
    encode(plan, decoded, out.data());
    return {};
  };

  std::vector<Result<void>> results(
      static_cast<size_t>((piece.rows + piece.rows_per_task - 1) / piece.rows_per_task));
  pool_.parallel_for(std::ssize(results), 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * piece.rows_per_task;
      results[static_cast<size_t>(task)] =
          encode_rows(first, std::min(piece.rows_per_task, piece.rows - first),
                      scratch_[static_cast<size_t>(worker)]);
    }
  });
  const auto failed =
      std::ranges::find_if(results, [](const auto& result) { return !result.ok(); });
  return failed == results.end() ? Result<void>() : *failed;
}

}  // namespace dunlin

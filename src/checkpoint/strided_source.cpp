#include "checkpoint/strided_source.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr int64_t kRunBytes = 1 << 20;

template <int64_t kBytes>
void copy_fixed(const std::byte* from, int64_t from_step, std::byte* to, int64_t to_step,
                int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_step, from + i * from_step, static_cast<size_t>(kBytes));
}

// Steps in bytes. Elements of numbers have a loop of their own.
void copy_elements(const std::byte* from, int64_t from_step, std::byte* to, int64_t to_step,
                   int64_t count, int64_t element_bytes) {
  if (element_bytes == 2) return copy_fixed<2>(from, from_step, to, to_step, count);
  if (element_bytes == 4) return copy_fixed<4>(from, from_step, to, to_step, count);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_step, from + i * from_step, static_cast<size_t>(element_bytes));
}

class StridedSource final : public ByteSource {
 public:
  StridedSource(std::shared_ptr<const ByteSource> stored, const StridedLayout& layout)
      : stored_(std::move(stored)), layout_(layout) {
    DUNLIN_CHECK(layout.element_bytes > 0, "elements have bytes");
  }

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset)
      return model_error(name() + ": a read behind the end of a tensor");
    const int64_t bytes = layout_.element_bytes;
    const auto begin = static_cast<int64_t>(offset);
    const int64_t end = begin + static_cast<int64_t>(into.size());
    const int64_t first = begin / bytes;
    const int64_t count = (end + bytes - 1) / bytes - first;
    if (begin % bytes == 0 && end % bytes == 0) return read_elements(first, count, into.data());
    std::vector<std::byte> whole(static_cast<size_t>(count * bytes));
    DUNLIN_RETURN_IF_ERROR(read_elements(first, count, whole.data()));
    std::memcpy(into.data(), whole.data() + (begin - first * bytes), into.size());
    return {};
  }
  uint64_t size() const override {
    return static_cast<uint64_t>(layout_.stacks * layout_.rows * layout_.columns *
                                 layout_.element_bytes);
  }
  const std::string& name() const override { return stored_->name(); }

 private:
  // Rows [row, row + rows) and columns [column, column + columns) of a stack.
  struct Part {
    int64_t stack, row, rows, column, columns;
  };

  // Parts of a row, or whole rows of one stack, until all are read.
  Result<void> read_elements(int64_t first, int64_t count, std::byte* into) const {
    std::vector<std::byte> run;
    while (count > 0) {
      const int64_t row = first / layout_.columns;
      Part part{row / layout_.rows, row % layout_.rows, 1, first % layout_.columns, 0};
      if (part.column == 0 && count >= layout_.columns) {
        part.rows = std::min(count / layout_.columns, layout_.rows - part.row);
        part.columns = layout_.columns;
      } else {
        part.columns = std::min(count, layout_.columns - part.column);
      }
      DUNLIN_RETURN_IF_ERROR(read_part(part, run, into));
      const int64_t done = part.rows * part.columns;
      first += done;
      count -= done;
      into += done * layout_.element_bytes;
    }
    return {};
  }

  // Along the dimension in which neighbours lie closer together.
  Result<void> read_part(const Part& part, std::vector<std::byte>& run, std::byte* into) const {
    const int64_t bytes = layout_.element_bytes;
    const int64_t start = part.stack * layout_.stack_stride + part.row * layout_.row_stride +
                          part.column * layout_.column_stride;
    if (part.rows == 1 || layout_.column_stride <= layout_.row_stride) {
      for (int64_t r = 0; r < part.rows; ++r) {
        DUNLIN_RETURN_IF_ERROR(read_run(start + r * layout_.row_stride, layout_.column_stride,
                                        part.columns, run, into + r * part.columns * bytes, bytes));
      }
      return {};
    }
    for (int64_t c = 0; c < part.columns; ++c) {
      DUNLIN_RETURN_IF_ERROR(read_run(start + c * layout_.column_stride, layout_.row_stride,
                                      part.rows, run, into + c * bytes, part.columns * bytes));
    }
    return {};
  }

  // `count` elements from stored element `first` on, `stride` elements apart, to places `step` bytes
  // apart.
  Result<void> read_run(int64_t first, int64_t stride, int64_t count, std::vector<std::byte>& run,
                        std::byte* into, int64_t step) const {
    const int64_t bytes = layout_.element_bytes;
    const auto place = [&](int64_t i) {
      return layout_.offset + static_cast<uint64_t>((first + i * stride) * bytes);
    };
    if (stride == 1 && step == bytes)
      return stored_->read_at(place(0), {into, static_cast<size_t>(count * bytes)});
    const int64_t most = std::max<int64_t>(1, kRunBytes / (stride * bytes));
    for (int64_t i = 0; i < count; i += most) {
      const int64_t elements = std::min(most, count - i);
      const auto length = static_cast<size_t>(((elements - 1) * stride + 1) * bytes);
      if (run.size() < length) run.resize(length);
      DUNLIN_RETURN_IF_ERROR(stored_->read_at(place(i), std::span(run.data(), length)));
      copy_elements(run.data(), stride * bytes, into + i * step, step, elements, bytes);
    }
    return {};
  }

  std::shared_ptr<const ByteSource> stored_;
  StridedLayout layout_;
};

}  // namespace

std::shared_ptr<const ByteSource> strided_source(std::shared_ptr<const ByteSource> stored,
                                                 const StridedLayout& layout) {
  return std::make_shared<StridedSource>(std::move(stored), layout);
}

}  // namespace dunlin

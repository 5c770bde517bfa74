#include "checkpoint/strided_source.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr int64_t kRunBytes = 1 << 20;
// Between two elements less is read with them than a call costs that reads one of them.
constexpr int64_t kNearBytes = 512;

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
    auto begin = static_cast<int64_t>(offset);
    const auto read_within = [&](int64_t wanted) -> Result<void> {
      const auto part =
          into.first(static_cast<size_t>(std::min<int64_t>(wanted, std::ssize(into))));
      const auto within = static_cast<uint64_t>(begin % bytes);
      DUNLIN_RETURN_IF_ERROR(stored_->read_at(place_of(begin / bytes) + within, part));
      into = into.subspan(part.size());
      begin += std::ssize(part);
      return {};
    };
    if (begin % bytes != 0 && !into.empty())
      DUNLIN_RETURN_IF_ERROR(read_within(bytes - begin % bytes));
    if (const int64_t whole = std::ssize(into) / bytes; whole > 0) {
      DUNLIN_RETURN_IF_ERROR(read_elements(begin / bytes, whole, into.data()));
      into = into.subspan(static_cast<size_t>(whole * bytes));
      begin += whole * bytes;
    }
    return into.empty() ? Result<void>() : read_within(std::ssize(into));
  }

  // Of whole elements in a matrix that is stored the other way round: a stack's lines together.
  Result<void> read_lines(const ByteLines& lines, std::byte* into,
                          size_t into_step) const override {
    if (!layout_.is_transposed() || !are_elements_of_rows(lines))
      return ByteSource::read_lines(lines, into, into_step);
    const auto row_bytes = static_cast<uint64_t>(layout_.columns * layout_.element_bytes);
    const auto row = static_cast<int64_t>(lines.offset / row_bytes);
    const auto step = static_cast<int64_t>(lines.step / row_bytes);
    const auto element = static_cast<uint64_t>(layout_.element_bytes);
    Part part{.column = static_cast<int64_t>(lines.offset % row_bytes / element),
              .columns = static_cast<int64_t>(lines.bytes / element),
              .row_step = step};
    std::vector<std::byte> run;
    const auto count = static_cast<int64_t>(lines.count);
    for (int64_t done = 0; done < count; done += part.rows) {
      part.stack = (row + done * step) / layout_.rows;
      part.row = (row + done * step) % layout_.rows;
      part.rows = std::min(count - done, (layout_.rows - part.row + step - 1) / step);
      DUNLIN_RETURN_IF_ERROR(read_part(part, run, into + static_cast<size_t>(done) * into_step,
                                       static_cast<int64_t>(into_step)));
    }
    return {};
  }
  uint64_t size() const override {
    return static_cast<uint64_t>(layout_.stacks * layout_.rows * layout_.columns *
                                 layout_.element_bytes);
  }
  const std::string& name() const override { return stored_->name(); }

 private:
  // `rows` rows of a stack, from `row` on, each `row_step` behind the one before, and their columns
  // [column, column + columns).
  struct Part {
    int64_t stack = 0, row = 0, rows = 1;
    int64_t column = 0, columns = 0;
    int64_t row_step = 1;
  };

  // Whether the lines are some elements of rows, and lie inside.
  bool are_elements_of_rows(const ByteLines& lines) const {
    const auto element = static_cast<uint64_t>(layout_.element_bytes);
    const uint64_t row_bytes = static_cast<uint64_t>(layout_.columns) * element;
    if (lines.count == 0 || lines.bytes == 0 || lines.step == 0) return false;
    if (lines.offset % element != 0 || lines.bytes % element != 0) return false;
    if (lines.step % row_bytes != 0 || lines.bytes > row_bytes - lines.offset % row_bytes)
      return false;
    if (lines.offset > size() || lines.bytes > size() - lines.offset) return false;
    return lines.count - 1 <= (size() - lines.offset - lines.bytes) / lines.step;
  }

  // Where an element is stored, bytes.
  uint64_t place_of(int64_t element) const {
    const int64_t row = element / layout_.columns;
    const int64_t stored = row / layout_.rows * layout_.stack_stride +
                           row % layout_.rows * layout_.row_stride +
                           element % layout_.columns * layout_.column_stride;
    return layout_.offset + static_cast<uint64_t>(stored * layout_.element_bytes);
  }

  // Parts of a row, or whole rows of one stack, until all are read.
  Result<void> read_elements(int64_t first, int64_t count, std::byte* into) const {
    const int64_t row_bytes = layout_.columns * layout_.element_bytes;
    std::vector<std::byte> run;
    while (count > 0) {
      const int64_t row = first / layout_.columns;
      Part part{.stack = row / layout_.rows,
                .row = row % layout_.rows,
                .column = first % layout_.columns};
      if (part.column == 0 && count >= layout_.columns) {
        part.rows = std::min(count / layout_.columns, layout_.rows - part.row);
        part.columns = layout_.columns;
      } else {
        part.columns = std::min(count, layout_.columns - part.column);
      }
      DUNLIN_RETURN_IF_ERROR(read_part(part, run, into, row_bytes));
      const int64_t done = part.rows * part.columns;
      first += done;
      count -= done;
      into += done * layout_.element_bytes;
    }
    return {};
  }

  // Along the dimension in which neighbours lie closer together, rows to places `into_step` bytes apart.
  Result<void> read_part(const Part& part, std::vector<std::byte>& run, std::byte* into,
                         int64_t into_step) const {
    const int64_t bytes = layout_.element_bytes;
    const int64_t start = part.stack * layout_.stack_stride + part.row * layout_.row_stride +
                          part.column * layout_.column_stride;
    const int64_t row_stride = part.row_step * layout_.row_stride;
    if (part.rows == 1 || layout_.column_stride <= row_stride) {
      for (int64_t r = 0; r < part.rows; ++r) {
        DUNLIN_RETURN_IF_ERROR(read_run(start + r * row_stride, layout_.column_stride, part.columns,
                                        run, into + r * into_step, bytes));
      }
      return {};
    }
    for (int64_t c = 0; c < part.columns; ++c) {
      DUNLIN_RETURN_IF_ERROR(read_run(start + c * layout_.column_stride, row_stride, part.rows, run,
                                      into + c * bytes, into_step));
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
    if ((stride - 1) * bytes > kNearBytes) {
      return stored_->read_lines({.offset = place(0),
                                  .step = static_cast<uint64_t>(stride * bytes),
                                  .bytes = static_cast<size_t>(bytes),
                                  .count = static_cast<size_t>(count)},
                                 into, static_cast<size_t>(step));
    }
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

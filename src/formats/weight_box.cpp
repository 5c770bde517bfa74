#include "formats/weight_box.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;

class BoxReader {
 public:
  BoxReader(const WeightView& view, const WeightBox& box)
      : view_(view),
        rows_(box.rows),
        row_bytes_(row_bytes(traits(view.format), box.columns.extent)),
        whole_rows_(box.columns.is_all_of(view.columns)) {
    const FormatTraits& format = traits(view.format);
    for (const IndexRun& run : box.columns.runs) {
      DUNLIN_CHECK(run.at % format.block_elements == 0 && run.begin % format.block_elements == 0 &&
                       run.count % format.block_elements == 0,
                   "columns are whole blocks");
      columns_.push_back(
          {row_bytes(format, run.at), row_bytes(format, run.begin), row_bytes(format, run.count)});
    }
  }

  Result<void> read(const TakeBox& take) {
    const int64_t most = rows_of_a_piece();
    for (int64_t first = 0; first < rows_.extent; first += most) {
      const int64_t count = std::min(most, rows_.extent - first);
      piece_.assign(static_cast<size_t>(count * row_bytes_), std::byte{0});
      for (const IndexRun& run : rows_.runs) {
        const int64_t from = std::max(first, run.at);
        const int64_t to = std::min(first + count, run.at + run.count);
        if (from >= to) continue;
        DUNLIN_RETURN_IF_ERROR(read_rows(run.begin + from - run.at, to - from, from - first));
      }
      DUNLIN_RETURN_IF_ERROR(take(piece_));
    }
    return {};
  }

 private:
  // Whole heads where their rows are permuted, for then they lie side by side.
  int64_t rows_of_a_piece() const {
    const int64_t most = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, row_bytes_));
    const int64_t head = view_.row_map.rope_head_dim;
    return head > 0 && most > head ? most - most % head : most;
  }

  std::span<std::byte> row(int64_t index) {
    return std::span(piece_).subspan(static_cast<size_t>(index * row_bytes_),
                                     static_cast<size_t>(row_bytes_));
  }
  uint64_t offset_of(int64_t stored_row) const {
    return view_.offset + static_cast<uint64_t>(stored_row * view_.bytes_per_row());
  }

  // Canonical rows [first, first + count) to row `into` of the piece and those after it.
  Result<void> read_rows(int64_t first, int64_t count, int64_t into) {
    if (!whole_rows_) return read_columns(first, count, into);
    if (view_.row_map.identity()) {
      const auto bytes = std::span(piece_).subspan(static_cast<size_t>(into * row_bytes_),
                                                   static_cast<size_t>(count * row_bytes_));
      return view_.source->read_at(offset_of(first), bytes);
    }
    stored_.clear();
    for (int64_t i = 0; i < count; ++i)
      stored_.emplace_back(view_.row_map.stored_row(first + i), into + i);
    std::ranges::sort(stored_);
    for (size_t begin = 0, end = 0; begin < stored_.size(); begin = end) {
      for (end = begin + 1; end < stored_.size(); ++end)
        if (stored_[end].first != stored_[end - 1].first + 1) break;
      DUNLIN_RETURN_IF_ERROR(read_side_by_side(std::span(stored_).subspan(begin, end - begin)));
    }
    return {};
  }

  // Pairs of a stored row, each after the one before, and the row of the piece it becomes.
  Result<void> read_side_by_side(std::span<const std::pair<int64_t, int64_t>> rows) {
    if (rows.size() == 1)
      return view_.source->read_at(offset_of(rows[0].first), row(rows[0].second));
    const auto bytes = static_cast<size_t>(row_bytes_);
    scratch_.resize(rows.size() * bytes);
    DUNLIN_RETURN_IF_ERROR(view_.source->read_at(offset_of(rows[0].first), scratch_));
    for (size_t i = 0; i < rows.size(); ++i)
      std::memcpy(row(rows[i].second).data(), scratch_.data() + i * bytes, bytes);
    return {};
  }

  Result<void> read_columns(int64_t first, int64_t count, int64_t into) {
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t offset = offset_of(view_.row_map.stored_row(first + i));
      for (const IndexRun& run : columns_) {
        DUNLIN_RETURN_IF_ERROR(view_.source->read_at(
            offset + static_cast<uint64_t>(run.begin),
            row(into + i).subspan(static_cast<size_t>(run.at), static_cast<size_t>(run.count))));
      }
    }
    return {};
  }

  const WeightView& view_;
  const IndexRuns& rows_;
  int64_t row_bytes_;
  bool whole_rows_;
  std::vector<IndexRun> columns_;  // in bytes
  std::vector<std::byte> piece_ = {};
  std::vector<std::byte> scratch_ = {};
  std::vector<std::pair<int64_t, int64_t>> stored_ = {};
};

}  // namespace

uint64_t box_bytes(const WeightView& view, const WeightBox& box) {
  return static_cast<uint64_t>(box.rows.extent *
                               row_bytes(traits(view.format), box.columns.extent));
}

uint64_t stored_bytes(const WeightView& view, const WeightBox& box) {
  return static_cast<uint64_t>(box.rows.count() *
                               row_bytes(traits(view.format), box.columns.count()));
}

Result<void> read_box(const WeightView& view, const WeightBox& box, const TakeBox& take) {
  if (view.rows > 1 || view.row_map.identity()) return BoxReader(view, box).read(take);
  // The map of a vector permutes its elements, each of which is a block: rows of one column.
  WeightView upright = view;
  upright.rows = view.columns;
  upright.columns = 1;
  const WeightBox elements{.rows = box.columns, .columns = IndexRuns::all(1)};
  return BoxReader(upright, elements).read(take);
}

}  // namespace dunlin

#include "formats/weight_box.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace dunlin {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;
// Far more than a weight has; bytes of so many can be counted.
constexpr int64_t kMostColumns = int64_t{1} << 40;

// A run of scales for the columns of `columns`, if they are whole blocks of those that share one.
std::optional<IndexRun> scales_of(const RowForm& form, const IndexRun& columns) {
  const int64_t block = form.scale_columns;
  const bool to_the_end = columns.begin + columns.count == form.columns;
  if (columns.at % block != 0 || columns.begin % block != 0) return std::nullopt;
  if (columns.count % block != 0 && !to_the_end) return std::nullopt;
  return IndexRun{columns.at / block, columns.begin / block, (columns.count + block - 1) / block};
}

// Blocks of `block` rows that some of `rows` are in.
int64_t blocks_met(const IndexRuns& rows, int64_t block) {
  int64_t met = 0;
  int64_t behind = 0;  // the last one that was counted
  for (const IndexRun& run : rows.runs) {
    const int64_t first = std::max(behind, run.begin / block);
    behind = std::max(behind, (run.begin + run.count + block - 1) / block);
    met += behind - first;
  }
  return met;
}

class BoxReader {
 public:
  BoxReader(const WeightView& view, const WeightBox& box)
      : view_(view),
        rows_(box.rows),
        row_bytes_(box_form(view, box).bytes()),
        scale_bytes_(view.row_form().scale_bytes()),
        stored_row_bytes_(view.bytes_per_row() - (view.scales == nullptr ? 0 : scale_bytes_)),
        side_by_side_(box.columns.is_all_of(view.columns) && view.row_map.stride == 1) {
    auto columns = column_bytes(view.row_form(), box.columns);
    DUNLIN_CHECK(columns.has_value(), "columns are whole blocks");
    columns_ = std::move(columns->runs);
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
    return view_.offset + static_cast<uint64_t>(stored_row * stored_row_bytes_);
  }

  // Canonical rows [first, first + count) to row `into` of the piece and those after it.
  Result<void> read_rows(int64_t first, int64_t count, int64_t into) {
    if (!side_by_side_) return read_columns(first, count, into);
    const auto bytes = std::span(piece_).subspan(static_cast<size_t>(into * row_bytes_),
                                                 static_cast<size_t>(count * row_bytes_));
    if (view_.scales != nullptr) return view_.read_rows(first, count, bytes);
    if (view_.row_map.identity()) return view_.source->read_at(offset_of(first), bytes);
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

  // Rows whose heads are permuted one by one, for they have no order that lines could have.
  Result<void> read_columns(int64_t first, int64_t count, int64_t into) {
    const int64_t rows = view_.row_map.rope_head_dim > 0 ? 1 : count;
    for (int64_t i = 0; i < count; i += rows) {
      const int64_t stored = view_.row_map.stored_row(first + i);
      for (const IndexRun& run : columns_)
        DUNLIN_RETURN_IF_ERROR(read_run(stored, rows, run, into + i));
    }
    return {};
  }

  // A run of bytes, as RowForm has them, of `rows` rows from `stored` on, to rows `into` and behind.
  Result<void> read_run(int64_t stored, int64_t rows, const IndexRun& run, int64_t into) {
    std::byte* to = piece_.data() + into * row_bytes_ + run.at;
    int64_t begin = run.begin;
    int64_t count = run.count;
    const int64_t stride = view_.row_map.stride;
    if (view_.scales != nullptr) {
      const int64_t of_scales = std::clamp<int64_t>(scale_bytes_ - begin, 0, count);
      for (int64_t i = 0; i < rows; ++i) {
        copy_scales(stored + i * stride, begin,
                    {to + i * row_bytes_, static_cast<size_t>(of_scales)});
      }
      to += of_scales;
      count -= of_scales;
      begin += of_scales - scale_bytes_;
    }
    if (count == 0) return {};
    return view_.source->read_lines({.offset = offset_of(stored) + static_cast<uint64_t>(begin),
                                     .step = static_cast<uint64_t>(stride * stored_row_bytes_),
                                     .bytes = static_cast<size_t>(count),
                                     .count = static_cast<size_t>(rows)},
                                    to, static_cast<size_t>(row_bytes_));
  }

  void copy_scales(int64_t stored, int64_t begin, std::span<std::byte> into) const {
    if (into.empty()) return;
    const WeightScales& scales = *view_.scales;
    const int64_t first = stored / scales.rows * scales.per_row;
    const auto all = std::as_bytes(std::span(scales.values));
    std::memcpy(into.data(), all.data() + 4 * first + begin, into.size());
  }

  const WeightView& view_;
  const IndexRuns& rows_;
  int64_t row_bytes_;
  int64_t scale_bytes_;            // of a whole row
  int64_t stored_row_bytes_;       // in the source
  bool side_by_side_;              // whole rows
  std::vector<IndexRun> columns_;  // in bytes
  std::vector<std::byte> piece_ = {};
  std::vector<std::byte> scratch_ = {};
  std::vector<std::pair<int64_t, int64_t>> stored_ = {};
};

}  // namespace

std::optional<IndexRuns> column_bytes(const RowForm& form, const IndexRuns& columns) {
  const int64_t block = form.format->block_elements;
  if (columns.extent > kMostColumns || columns.extent % block != 0) return std::nullopt;
  const RowForm part = form.of_columns(columns.extent);
  IndexRuns bytes{.extent = part.bytes()};
  std::vector<IndexRun> elements;
  for (const IndexRun& run : columns.runs) {
    if (run.begin > kMostColumns || run.count > kMostColumns) return std::nullopt;
    if (run.at % block != 0 || run.begin % block != 0 || run.count % block != 0)
      return std::nullopt;
    elements.push_back({part.scale_bytes() + row_bytes(*form.format, run.at),
                        form.scale_bytes() + row_bytes(*form.format, run.begin),
                        row_bytes(*form.format, run.count)});
    if (form.scales() <= 1) continue;
    const auto scales = scales_of(form, run);
    if (!scales) return std::nullopt;
    append_run(bytes.runs, {4 * scales->at, 4 * scales->begin, 4 * scales->count});
  }
  if (form.scales() == 1 && !elements.empty()) append_run(bytes.runs, {0, 0, form.scale_bytes()});
  for (const IndexRun& run : elements) append_run(bytes.runs, run);
  return bytes;
}

RowForm box_form(const WeightView& view, const WeightBox& box) {
  return view.row_form().of_columns(box.columns.extent);
}

uint64_t box_bytes(const WeightView& view, const WeightBox& box) {
  return static_cast<uint64_t>(box.rows.extent * box_form(view, box).bytes());
}

uint64_t stored_bytes(const WeightView& view, const WeightBox& box) {
  const auto columns = column_bytes(view.row_form(), box.columns);
  DUNLIN_CHECK(columns.has_value(), "columns are whole blocks");
  const int64_t of_row = columns->count();
  if (view.scales == nullptr) return static_cast<uint64_t>(box.rows.count() * of_row);
  const int64_t elements = row_bytes(traits(view.format), box.columns.count());
  return static_cast<uint64_t>(box.rows.count() * elements +
                               blocks_met(box.rows, view.scales->rows) * (of_row - elements));
}

Result<void> read_box(const WeightView& view, const WeightBox& box, const TakeBox& take) {
  if (view.rows > 1 || view.row_map.rope_head_dim == 0) return BoxReader(view, box).read(take);
  // The map of a vector permutes its elements, each of which is a block: rows of one column.
  WeightView upright = view;
  upright.rows = view.columns;
  upright.columns = 1;
  const WeightBox elements{.rows = box.columns, .columns = IndexRuns::all(1)};
  return BoxReader(upright, elements).read(take);
}

Result<std::optional<HeldBytes>> hold_box(const WeightView& view, const WeightBox& box,
                                          size_t alignment) {
  const auto is_one_run = [](const IndexRuns& runs) {
    return runs.runs.size() == 1 && runs.runs.front().count == runs.extent;
  };
  const bool in_order =
      view.row_map.stride == 1 && view.row_map.rope_head_dim == 0 && !view.columns_apart;
  if (!in_order || view.scales != nullptr || !is_one_run(box.rows) || !is_one_run(box.columns))
    return std::optional<HeldBytes>();
  const auto columns = column_bytes(view.row_form(), box.columns);
  if (!columns || !is_one_run(*columns)) return std::optional<HeldBytes>();
  const int64_t row = view.row_map.stored_row(box.rows.runs.front().begin);
  const int64_t at = row * view.bytes_per_row() + columns->runs.front().begin;
  return view.source->hold_lines({.offset = view.offset + static_cast<uint64_t>(at),
                                  .step = static_cast<uint64_t>(view.bytes_per_row()),
                                  .bytes = static_cast<size_t>(columns->extent),
                                  .count = static_cast<size_t>(box.rows.extent)},
                                 alignment);
}

Result<void> read_box_of_both(const WeightView& both, const WeightBox& box, const TakeBoxes& take) {
  WeightBox rows_of_both{.rows = {.extent = 2 * box.rows.extent}, .columns = box.columns};
  for (const IndexRun& run : box.rows.runs)
    rows_of_both.rows.runs.push_back({2 * run.at, 2 * run.begin, 2 * run.count});
  const int64_t bytes = box_form(both, box).bytes();
  int64_t row = 0;
  std::vector<std::byte> parted;
  const auto part = [&](std::span<const std::byte> piece) -> Result<void> {
    const int64_t rows = std::ssize(piece) / bytes;
    const auto first = static_cast<size_t>(row % 2);  // the weight of the piece's first row
    const int64_t of_first = (rows + 1) / 2;
    parted.resize(piece.size());
    std::byte* const behind = parted.data() + of_first * bytes;
    part_rows(piece.data(), rows, bytes, parted.data(), behind);
    row += rows;
    DUNLIN_RETURN_IF_ERROR(take(first, std::span(parted.data(), behind)));
    const auto rest = std::span(parted).subspan(static_cast<size_t>(of_first * bytes));
    return rest.empty() ? Result<void>() : take(1 - first, rest);
  };
  return read_box(both, rows_of_both, part);
}

Result<void> read_boxes(std::span<const BoxOfWeight> boxes, const TakeBoxes& take) {
  std::vector<WeightView> views;
  for (const BoxOfWeight& each : boxes) views.push_back(each.view);
  const std::vector<std::optional<RowPair>> pairs = row_pairs(views);
  for (size_t i = 0; i < boxes.size(); ++i) {
    const std::optional<RowPair>& pair = pairs[i];
    if (!pair || boxes[pair->even].box != boxes[pair->odd].box) {
      DUNLIN_RETURN_IF_ERROR(
          read_box(boxes[i].view, boxes[i].box,
                   [&](std::span<const std::byte> bytes) { return take(i, bytes); }));
    } else if (i == std::min(pair->even, pair->odd)) {
      const auto both = rows_in_turn(boxes[pair->even].view, boxes[pair->odd].view);
      DUNLIN_RETURN_IF_ERROR(read_box_of_both(
          *both, boxes[i].box, [&](size_t number, std::span<const std::byte> bytes) {
            return take(number == 0 ? pair->even : pair->odd, bytes);
          }));
    }
  }
  return {};
}

}  // namespace dunlin

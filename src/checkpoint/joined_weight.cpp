#include "checkpoint/joined_weight.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

namespace dunlin {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;
// Of a row of a part at most one byte of so many is read without need, to read many rows at once:
// scales that another part has too.
constexpr int64_t kUnwantedPart = 16;

// Where the rows of a strip and the columns of a lane meet.
struct Cell {
  int32_t part = -1;
  int64_t row = 0;     // of the part
  int64_t column = 0;  // of the part, in bytes
};

// Bytes of a row of a part, and where they are in a row of the weight.
struct Lane {
  int64_t from, to, bytes;
};

// Both ends of all runs, with 0 and the end of the dimension; ascending, each once.
std::vector<int64_t> edges_of(const std::vector<JoinedPart>& parts, IndexRuns JoinedPart::* runs,
                              int64_t size) {
  std::vector<int64_t> edges = {0, size};
  for (const JoinedPart& part : parts) {
    for (const IndexRun& run : (part.*runs).runs) {
      edges.push_back(run.begin);
      edges.push_back(run.begin + run.count);
    }
  }
  std::ranges::sort(edges);
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  return edges;
}

bool within(const IndexRuns& runs, int64_t size) {
  return std::ranges::all_of(runs.runs,
                             [size](const IndexRun& run) { return run.begin <= size - run.count; });
}

class JoinedSource final : public ByteSource {
 public:
  JoinedSource(WholeWeight whole, std::vector<JoinedPart> parts)
      : whole_(std::move(whole)),
        parts_(std::move(parts)),
        rows_(edges_of(parts_, &JoinedPart::rows, whole_.rows)),
        columns_(edges_of(parts_, &JoinedPart::columns, whole_.row_bytes)) {}

  int64_t cells() const { return strips() * lanes(); }

  // Whether there is a part for every cell.
  bool fill() {
    cells_.resize(static_cast<size_t>(cells()));
    for (size_t i = 0; i < parts_.size(); ++i) {
      for (const IndexRun& rows : parts_[i].rows.runs)
        for (const IndexRun& columns : parts_[i].columns.runs)
          place(static_cast<int32_t>(i), rows, columns);
    }
    return std::ranges::all_of(cells_, [](const Cell& cell) { return cell.part >= 0; });
  }

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset) {
      return model_error(fmt::format("{}: {} bytes at offset {} lie beyond the {} bytes of {}",
                                     whole_.file, into.size(), offset, size(), whole_.name));
    }
    auto at = static_cast<int64_t>(offset);
    while (!into.empty()) {
      const int64_t row = at / whole_.row_bytes;
      const int64_t column = at % whole_.row_bytes;
      const int64_t strip = index_of(rows_, row);
      const int64_t whole_rows = std::min(std::ssize(into) / whole_.row_bytes,
                                          rows_[static_cast<size_t>(strip + 1)] - row);
      const bool whole = column == 0 && whole_rows > 0;
      const int64_t bytes = whole ? whole_rows * whole_.row_bytes
                                  : std::min<int64_t>(whole_.row_bytes - column, std::ssize(into));
      const auto piece = into.first(static_cast<size_t>(bytes));
      DUNLIN_RETURN_IF_ERROR(whole ? read_rows(strip, row, whole_rows, piece)
                                   : read_columns(strip, row, column, piece));
      into = into.subspan(piece.size());
      at += bytes;
    }
    return {};
  }

  // Some rows of all columns of a part.
  Result<std::optional<HeldBytes>> hold_lines(const ByteLines& lines,
                                              size_t alignment) const override {
    const auto row_bytes = static_cast<uint64_t>(whole_.row_bytes);
    const auto row = static_cast<int64_t>(lines.offset / row_bytes);
    const auto column = static_cast<int64_t>(lines.offset % row_bytes);
    const auto rows = static_cast<int64_t>(lines.count);
    if (rows == 0 || row + rows > whole_.rows || (rows > 1 && lines.step != row_bytes))
      return std::optional<HeldBytes>();
    const int64_t strip = index_of(rows_, row);
    const Cell& from = cell(strip, index_of(columns_, column));
    const JoinedPart& part = parts_[static_cast<size_t>(from.part)];
    const bool all_columns = std::ranges::binary_search(columns_, column) && from.column == 0 &&
                             std::cmp_equal(part.columns.extent, lines.bytes) &&
                             part.columns.count() == part.columns.extent &&
                             part.columns.runs.size() == 1;
    if (!all_columns || row + rows > rows_[static_cast<size_t>(strip + 1)])
      return std::optional<HeldBytes>();
    const int64_t part_row = from.row + row - rows_[static_cast<size_t>(strip)];
    return part.source->hold_lines(
        {.offset = part.offset + static_cast<uint64_t>(part_row * part.columns.extent),
         .step = lines.bytes,
         .bytes = lines.bytes,
         .count = lines.count},
        alignment);
  }
  uint64_t size() const override { return static_cast<uint64_t>(whole_.rows * whole_.row_bytes); }
  const std::string& name() const override { return whole_.file; }

 private:
  int64_t strips() const { return std::ssize(rows_) - 1; }
  int64_t lanes() const { return std::ssize(columns_) - 1; }
  // Of the edges, the last one that is at or before `at`.
  static int64_t index_of(const std::vector<int64_t>& edges, int64_t at) {
    return std::ranges::upper_bound(edges, at) - edges.begin() - 1;
  }
  Cell& cell(int64_t strip, int64_t lane) {
    return cells_[static_cast<size_t>(strip * lanes() + lane)];
  }
  const Cell& cell(int64_t strip, int64_t lane) const {
    return cells_[static_cast<size_t>(strip * lanes() + lane)];
  }

  void place(int32_t part, const IndexRun& rows, const IndexRun& columns) {
    const int64_t first_lane = index_of(columns_, columns.begin);
    for (int64_t strip = index_of(rows_, rows.begin); strip < strips(); ++strip) {
      const int64_t row = rows_[static_cast<size_t>(strip)] - rows.begin;
      if (row >= rows.count) break;
      for (int64_t lane = first_lane; lane < lanes(); ++lane) {
        const int64_t column = columns_[static_cast<size_t>(lane)] - columns.begin;
        if (column >= columns.count) break;
        Cell& found = cell(strip, lane);
        if (found.part < 0) found = {part, rows.at + row, columns.at + column};
      }
    }
  }

  // Bytes [column, ...) of a part's row.
  static Result<void> read_part(const JoinedPart& part, int64_t row, int64_t column,
                                std::span<std::byte> into) {
    return part.source->read_at(
        part.offset + static_cast<uint64_t>(row * part.columns.extent + column), into);
  }

  // Some bytes of one row.
  Result<void> read_columns(int64_t strip, int64_t row, int64_t column,
                            std::span<std::byte> into) const {
    for (int64_t lane = index_of(columns_, column); !into.empty(); ++lane) {
      const int64_t count =
          std::min<int64_t>(columns_[static_cast<size_t>(lane + 1)] - column, std::ssize(into));
      const Cell& from = cell(strip, lane);
      const int64_t part_row = from.row + row - rows_[static_cast<size_t>(strip)];
      const int64_t part_column = from.column + column - columns_[static_cast<size_t>(lane)];
      DUNLIN_RETURN_IF_ERROR(read_part(parts_[static_cast<size_t>(from.part)], part_row,
                                       part_column, into.first(static_cast<size_t>(count))));
      into = into.subspan(static_cast<size_t>(count));
      column += count;
    }
    return {};
  }

  // Whole rows of one strip, each part's once.
  Result<void> read_rows(int64_t strip, int64_t row, int64_t count,
                         std::span<std::byte> into) const {
    std::vector<std::pair<int32_t, int64_t>> order;  // of parts and their lanes
    for (int64_t lane = 0; lane < lanes(); ++lane) order.emplace_back(cell(strip, lane).part, lane);
    std::ranges::sort(order);
    std::vector<Lane> found;
    for (size_t i = 0; i < order.size(); ++i) {
      const Cell& from = cell(strip, order[i].second);
      const auto edge = static_cast<size_t>(order[i].second);
      found.push_back({from.column, columns_[edge], columns_[edge + 1] - columns_[edge]});
      if (i + 1 < order.size() && order[i + 1].first == order[i].first) continue;
      const int64_t part_row = from.row + row - rows_[static_cast<size_t>(strip)];
      const JoinedPart& part = parts_[static_cast<size_t>(from.part)];
      DUNLIN_RETURN_IF_ERROR(read_lanes(part, part_row, count, found, into.data()));
      found.clear();
    }
    return {};
  }

  // Columns of `count` rows of a part to as many rows of the weight, the first at `into`.
  Result<void> read_lanes(const JoinedPart& part, int64_t row, int64_t count,
                          const std::vector<Lane>& found, std::byte* into) const {
    const int64_t width = part.columns.extent;
    int64_t wanted = 0;
    for (const Lane& lane : found) wanted += lane.bytes;
    if (wanted == width && found.size() == 1 && width == whole_.row_bytes)
      return read_part(part, row, 0, {into, static_cast<size_t>(count * width)});
    if (count > 1 && width - wanted <= width / kUnwantedPart)
      return scatter(part, row, count, found, into);
    for (int64_t i = 0; i < count; ++i) {
      for (const Lane& lane : found) {
        const std::span to(into + i * whole_.row_bytes + lane.to, static_cast<size_t>(lane.bytes));
        DUNLIN_RETURN_IF_ERROR(read_part(part, row + i, lane.from, to));
      }
    }
    return {};
  }

  // The same from whole rows of the part, many at a time.
  Result<void> scatter(const JoinedPart& part, int64_t row, int64_t count,
                       const std::vector<Lane>& found, std::byte* into) const {
    const int64_t width = part.columns.extent;
    const int64_t most = std::min(count, std::max<int64_t>(1, kPieceBytes / width));
    std::vector<std::byte> piece(static_cast<size_t>(most * width));
    for (int64_t first = 0; first < count; first += most) {
      const int64_t rows = std::min(most, count - first);
      DUNLIN_RETURN_IF_ERROR(read_part(part, row + first, 0,
                                       std::span(piece).first(static_cast<size_t>(rows * width))));
      for (int64_t i = 0; i < rows; ++i) {
        for (const Lane& lane : found) {
          std::memcpy(into + (first + i) * whole_.row_bytes + lane.to,
                      piece.data() + i * width + lane.from, static_cast<size_t>(lane.bytes));
        }
      }
    }
    return {};
  }

  WholeWeight whole_;
  std::vector<JoinedPart> parts_;
  std::vector<int64_t> rows_;     // edges of strips
  std::vector<int64_t> columns_;  // edges of lanes, in bytes
  std::vector<Cell> cells_ = {};  // strip by strip
};

}  // namespace

Result<std::shared_ptr<const ByteSource>> join_parts(const WholeWeight& whole,
                                                     std::vector<JoinedPart> parts,
                                                     JoinBudget& budget) {
  const auto wrong = [&whole](const char* problem) {
    return model_error(fmt::format("{}: {} {}", whole.file, whole.name, problem));
  };
  for (const JoinedPart& part : parts) {
    if (!within(part.rows, whole.rows) || !within(part.columns, whole.row_bytes))
      return wrong("has a part that lies outside of it");
  }
  const auto source = std::make_shared<JoinedSource>(whole, std::move(parts));
  budget.cells -= source->cells();
  if (budget.cells < 0) return wrong("is in too many pieces, with the weights before it");
  if (!source->fill()) return wrong("lacks a part: no file of weights has it");
  return std::shared_ptr<const ByteSource>(source);
}

}  // namespace dunlin

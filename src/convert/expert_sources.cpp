#include "convert/expert_sources.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "formats/mxfp4.h"

namespace dunlin {
namespace {

constexpr int64_t kRunBytes = int64_t{1} << 20;
constexpr int64_t kCodeBytes = kMxfp4CodeBytes;
constexpr int64_t kBlockBytes = kMxfp4BlockBytes;

// Two whose rows are stored in turn are one part, which is read as it lies.
std::vector<WeightView> as_stored(std::vector<WeightView> parts) {
  if (parts.size() != 2) return parts;
  auto both = rows_in_turn(parts[0], parts[1]);
  return both ? std::vector{*std::move(both)} : parts;
}

void check_parts(const std::vector<WeightView>& parts) {
  DUNLIN_CHECK(!parts.empty(), "something to put in order");
  for (const WeightView& part : parts) {
    DUNLIN_CHECK(part.row_map.identity() && part.scales == nullptr, "rows in canonical order");
    DUNLIN_CHECK(part.format == parts.front().format && part.rows == parts.front().rows &&
                     part.columns == parts.front().columns,
                 "parts of one form");
  }
}

Result<void> read_part(const WeightView& part, int64_t begin, std::span<std::byte> into) {
  return part.source->read_at(part.offset + static_cast<uint64_t>(begin), into);
}

// `count` elements to places `step` bytes apart.
template <int64_t kBytes>
void scatter(const std::byte* from, int64_t count, std::byte* to, int64_t step) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * step, from + i * kBytes, static_cast<size_t>(kBytes));
}

// A source whose bytes are made in whole units.
class UnitSource : public ByteSource {
 public:
  UnitSource(int64_t unit_bytes, int64_t units) : unit_bytes_(unit_bytes), units_(units) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset)
      return model_error(name() + ": a read behind the end of a tensor");
    const int64_t most = std::max<int64_t>(1, kRunBytes / unit_bytes_);
    std::vector<std::byte> units;
    auto begin = static_cast<int64_t>(offset);
    while (!into.empty()) {
      const int64_t first = begin / unit_bytes_;
      const int64_t behind = (begin + std::ssize(into) + unit_bytes_ - 1) / unit_bytes_;
      const int64_t count = std::min(most, behind - first);
      units.resize(static_cast<size_t>(count * unit_bytes_));
      DUNLIN_RETURN_IF_ERROR(make(first, count, units.data()));
      const int64_t skip = begin - first * unit_bytes_;
      const int64_t done = std::min<int64_t>(std::ssize(units) - skip, std::ssize(into));
      std::memcpy(into.data(), units.data() + skip, static_cast<size_t>(done));
      into = into.subspan(static_cast<size_t>(done));
      begin += done;
    }
    return {};
  }
  uint64_t size() const override { return static_cast<uint64_t>(units_ * unit_bytes_); }

 protected:
  int64_t unit_bytes() const { return unit_bytes_; }
  // Units [first, first + count).
  virtual Result<void> make(int64_t first, int64_t count, std::byte* units) const = 0;

 private:
  int64_t unit_bytes_, units_;
};

class Interleaved final : public UnitSource {
 public:
  Interleaved(std::vector<WeightView> parts, int64_t unit_bytes)
      : UnitSource(unit_bytes, std::ssize(parts) * parts.front().rows *
                                   parts.front().bytes_per_row() / unit_bytes),
        parts_(std::move(parts)) {}

  const std::string& name() const override { return parts_.front().source->name(); }

 private:
  Result<void> make(int64_t first, int64_t count, std::byte* units) const override {
    const int64_t parts = std::ssize(parts_);
    const int64_t bytes = unit_bytes();
    std::vector<std::byte> run;
    for (int64_t p = 0; p < parts; ++p) {
      const int64_t begin = (first - p + parts - 1) / parts;
      const int64_t end = (first + count - p + parts - 1) / parts;
      if (begin >= end) continue;
      run.resize(static_cast<size_t>((end - begin) * bytes));
      DUNLIN_RETURN_IF_ERROR(read_part(parts_[static_cast<size_t>(p)], begin * bytes, run));
      for (int64_t i = begin; i < end; ++i) {
        std::memcpy(units + (i * parts + p - first) * bytes, run.data() + (i - begin) * bytes,
                    static_cast<size_t>(bytes));
      }
    }
    return {};
  }

  std::vector<WeightView> parts_;
};

class Mxfp4Half final : public UnitSource {
 public:
  Mxfp4Half(std::shared_ptr<const ByteSource> blocks, bool codes)
      : UnitSource(codes ? kCodeBytes : 1, static_cast<int64_t>(blocks->size()) / kBlockBytes),
        blocks_(std::move(blocks)),
        codes_(codes) {}

  const std::string& name() const override { return blocks_->name(); }

 private:
  Result<void> make(int64_t first, int64_t count, std::byte* units) const override {
    // A megabyte of exponents is that of 17 MB of blocks.
    constexpr int64_t kMost = kRunBytes / kCodeBytes;
    std::vector<std::byte> stored;
    for (int64_t done = 0; done < count; done += kMost) {
      const int64_t some = std::min(kMost, count - done);
      stored.resize(static_cast<size_t>(some * kBlockBytes));
      const auto offset = static_cast<uint64_t>((first + done) * kBlockBytes);
      DUNLIN_RETURN_IF_ERROR(blocks_->read_at(offset, stored));
      for (int64_t i = 0; i < some; ++i) {
        const std::byte* const block = stored.data() + i * kBlockBytes;
        std::byte* const unit = units + (done + i) * unit_bytes();
        if (codes_) {
          block_to_neighbours(block + 1, unit);
        } else {
          *unit = *block;
        }
      }
    }
    return {};
  }

  std::shared_ptr<const ByteSource> blocks_;
  bool codes_;
};

class Transposed final : public ByteSource {
 public:
  Transposed(std::vector<WeightView> parts, int64_t stacks, int64_t tile_bytes)
      : parts_(std::move(parts)),
        stacks_(stacks),
        rows_(parts_.front().rows / stacks),
        columns_(parts_.front().columns),
        element_bytes_(traits(parts_.front().format).block_bytes),
        row_bytes_(rows_ * std::ssize(parts_) * element_bytes_),
        tile_columns_(std::clamp<int64_t>(tile_bytes / row_bytes_, 1, columns_)) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset > size() || into.size() > size() - offset)
      return model_error(name() + ": a read behind the end of a tensor");
    const std::scoped_lock lock(mutex_);
    auto at = static_cast<int64_t>(offset);
    while (!into.empty()) {
      const int64_t row = at / row_bytes_;
      DUNLIN_ASSIGN_OR_RETURN(const Tile* const tile, tile_of(row / columns_, row % columns_));
      const int64_t skip = at - (tile->stack * columns_ + tile->first) * row_bytes_;
      const int64_t done = std::min<int64_t>(std::ssize(tile->bytes) - skip, std::ssize(into));
      std::memcpy(into.data(), tile->bytes.data() + skip, static_cast<size_t>(done));
      into = into.subspan(static_cast<size_t>(done));
      at += done;
    }
    return {};
  }
  uint64_t size() const override { return static_cast<uint64_t>(stacks_ * columns_ * row_bytes_); }
  const std::string& name() const override { return parts_.front().source->name(); }

 private:
  // Some columns of a stack, which are rows of what is wanted.
  struct Tile {
    int64_t stack = -1;
    int64_t first = 0;
    std::vector<std::byte> bytes = {};
  };

  // Valid while the lock is held.
  Result<const Tile*> tile_of(int64_t stack, int64_t column) const {
    const int64_t first = column - column % tile_columns_;
    for (const Tile& tile : tiles_)
      if (tile.stack == stack && tile.first == first) return &tile;
    last_ = 1 - last_;
    Tile& tile = tiles_[last_];
    tile.stack = -1;  // where it cannot be read
    tile.first = first;
    const int64_t count = std::min(tile_columns_, columns_ - first);
    tile.bytes.resize(static_cast<size_t>(count * row_bytes_));
    for (int64_t p = 0; p < std::ssize(parts_); ++p)
      DUNLIN_RETURN_IF_ERROR(load(p, stack, first, count, tile.bytes.data()));
    tile.stack = stack;
    const Tile* const loaded = &tile;
    return loaded;
  }

  // Columns [first, first + count) of a stack of part `p`.
  Result<void> load(int64_t p, int64_t stack, int64_t first, int64_t count, std::byte* tile) const {
    const int64_t bytes = count * element_bytes_;  // of a row
    const int64_t most = std::max<int64_t>(1, kRunBytes / bytes);
    const WeightView& part = parts_[static_cast<size_t>(p)];
    std::vector<std::byte> run;
    for (int64_t r = 0; r < rows_; r += most) {
      const int64_t rows = std::min(most, rows_ - r);
      run.resize(static_cast<size_t>(rows * bytes));
      const int64_t begin = ((stack * rows_ + r) * columns_ + first) * element_bytes_;
      DUNLIN_RETURN_IF_ERROR(
          part.source->read_lines({.offset = part.offset + static_cast<uint64_t>(begin),
                                   .step = static_cast<uint64_t>(columns_ * element_bytes_),
                                   .bytes = static_cast<size_t>(bytes),
                                   .count = static_cast<size_t>(rows)},
                                  run.data(), static_cast<size_t>(bytes)));
      for (int64_t i = 0; i < rows; ++i) {
        std::byte* const to = tile + ((r + i) * std::ssize(parts_) + p) * element_bytes_;
        const std::byte* const from = run.data() + i * bytes;
        if (element_bytes_ == 2) {
          scatter<2>(from, count, to, row_bytes_);
        } else {
          scatter<4>(from, count, to, row_bytes_);
        }
      }
    }
    return {};
  }

  std::vector<WeightView> parts_;
  int64_t stacks_, rows_, columns_;  // of the parts
  int64_t element_bytes_;
  int64_t row_bytes_;     // of what is wanted
  int64_t tile_columns_;  // of a tile
  mutable std::mutex mutex_;
  mutable std::array<Tile, 2> tiles_ = {};  // neighbours, for threads at their border
  mutable size_t last_ = 0;                 // that was loaded
};

}  // namespace

std::shared_ptr<const ByteSource> interleaved_source(std::vector<WeightView> parts,
                                                     int64_t unit_bytes) {
  if (unit_bytes == parts.front().bytes_per_row()) parts = as_stored(std::move(parts));
  check_parts(parts);
  return std::make_shared<Interleaved>(std::move(parts), unit_bytes);
}

std::shared_ptr<const ByteSource> transposed_source(std::vector<WeightView> parts, int64_t stacks,
                                                    int64_t tile_bytes) {
  parts = as_stored(std::move(parts));
  check_parts(parts);
  DUNLIN_CHECK(traits(parts.front().format).is_plain(), "elements are plain numbers");
  return std::make_shared<Transposed>(std::move(parts), stacks, tile_bytes);
}

std::shared_ptr<const ByteSource> mxfp4_codes(std::shared_ptr<const ByteSource> blocks) {
  return std::make_shared<Mxfp4Half>(std::move(blocks), true);
}

std::shared_ptr<const ByteSource> mxfp4_scales(std::shared_ptr<const ByteSource> blocks) {
  return std::make_shared<Mxfp4Half>(std::move(blocks), false);
}

}  // namespace dunlin

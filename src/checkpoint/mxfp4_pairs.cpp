#include "checkpoint/mxfp4_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "checkpoint/tensor_checks.h"
#include "formats/mxfp4.h"

namespace dunlin {
namespace {

constexpr std::string_view kBlocks = "blocks";  // behind _ or a dot
constexpr std::string_view kScales = "scales";
constexpr int64_t kCodeBytes = kMxfp4CodeBytes;
constexpr int64_t kBlockBytes = kMxfp4BlockBytes;
constexpr int64_t kBlocksAtOnce = 64 * 1024 / 16;  // of one fetch

// `count` lines of `blocks`, the first from block `first` on, each `step` blocks behind the one before.
struct BlockLines {
  int64_t first, step, blocks, count;

  int64_t all() const { return blocks * count; }
};

// Blocks whose codes lie as in pairs, as ggml's. Its bytes begin at the offset of the blocks in their
// file.
class RepackedSource : public ByteSource {
 public:
  RepackedSource(uint64_t offset, int64_t count) : offset_(offset), count_(count) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset < offset_ || offset > size() || into.size() > size() - offset)
      return model_error(name() + ": a read outside a tensor");
    auto begin = static_cast<int64_t>(offset - offset_);
    Fetched fetched;
    while (!into.empty()) {
      const int64_t first = begin / kBlockBytes;
      const int64_t behind = (begin + std::ssize(into) + kBlockBytes - 1) / kBlockBytes;
      const int64_t count = std::min(behind - first, kBlocksAtOnce);
      DUNLIN_RETURN_IF_ERROR(fetch({first, count, count, 1}, fetched));
      const int64_t done = fetched.give(begin - first * kBlockBytes, into);
      begin += done;
      into = into.subspan(static_cast<size_t>(done));
    }
    return {};
  }

  // Many lines of whole blocks at a time: every other row, or some columns.
  Result<void> read_lines(const ByteLines& lines, std::byte* into,
                          size_t into_step) const override {
    const auto block = static_cast<uint64_t>(kBlockBytes);
    const bool whole = lines.offset >= offset_ && (lines.offset - offset_) % block == 0 &&
                       lines.step % block == 0 && lines.bytes % block == 0;
    const auto blocks = static_cast<int64_t>(lines.bytes / block);
    if (!whole || blocks == 0 || blocks > kBlocksAtOnce || !is_within(lines))
      return ByteSource::read_lines(lines, into, into_step);
    BlockLines wanted{static_cast<int64_t>((lines.offset - offset_) / block),
                      static_cast<int64_t>(lines.step / block), blocks, 0};
    Fetched fetched;
    const auto count = static_cast<int64_t>(lines.count);
    for (int64_t done = 0; done < count; done += wanted.count) {
      wanted.count = std::min(count - done, kBlocksAtOnce / blocks);
      DUNLIN_RETURN_IF_ERROR(fetch(wanted, fetched));
      for (int64_t i = 0; i < wanted.count; ++i)
        fetched.give_blocks(i * blocks, blocks, into + static_cast<size_t>(done + i) * into_step);
      wanted.first += wanted.step * wanted.count;
    }
    return {};
  }
  uint64_t size() const override { return offset_ + static_cast<uint64_t>(count_ * kBlockBytes); }

 protected:
  // Blocks as they are stored.
  struct Fetched {
    std::vector<std::byte> codes = {};      // sixteen bytes of each
    std::vector<std::byte> exponents = {};  // one
    std::vector<std::byte> stored = {};     // of both, for who reads them together

    void resize(int64_t blocks) {
      codes.resize(static_cast<size_t>(blocks * kCodeBytes));
      exponents.resize(static_cast<size_t>(blocks));
    }

    // Blocks from `first` on.
    void give_blocks(int64_t first, int64_t count, std::byte* into) const {
      for (int64_t i = first; i < first + count; ++i, into += kBlockBytes) {
        into[0] = exponents[static_cast<size_t>(i)];
        neighbours_to_block(codes.data() + i * kCodeBytes, into + 1);
      }
    }

    // The bytes of all blocks from the `skip`th on, less than one block, as many as fit; returns how
    // many.
    int64_t give(int64_t skip, std::span<std::byte> into) const {
      const int64_t blocks = std::ssize(exponents);
      const int64_t bytes = std::min<int64_t>(blocks * kBlockBytes - skip, std::ssize(into));
      int64_t done = 0;
      for (int64_t i = 0; done < bytes; ++i) {
        const int64_t from = i == 0 ? skip : 0;
        const int64_t whole = from == 0 ? (bytes - done) / kBlockBytes : 0;
        give_blocks(i, whole, into.data() + done);
        done += whole * kBlockBytes;
        i += whole;
        if (done == bytes) break;
        std::byte block[kBlockBytes];
        give_blocks(i, 1, block);
        const int64_t some = std::min<int64_t>(kBlockBytes - from, bytes - done);
        std::memcpy(into.data() + done, block + from, static_cast<size_t>(some));
        done += some;
      }
      return done;
    }
  };

 private:
  // Resizes `fetched` and fills it.
  virtual Result<void> fetch(const BlockLines& lines, Fetched& fetched) const = 0;

  bool is_within(const ByteLines& lines) const {
    if (lines.offset > size() || lines.bytes > size() - lines.offset) return false;
    const uint64_t behind_first = size() - lines.offset - lines.bytes;
    return lines.step == 0 || lines.count <= 1 || lines.count - 1 <= behind_first / lines.step;
  }

  uint64_t offset_;
  int64_t count_;
};

struct Half {
  std::shared_ptr<const ByteSource> source;
  uint64_t offset;
};

// The same lines as bytes of a source that has so many of each block.
ByteLines bytes_of(const BlockLines& lines, const Half& half, int64_t block_bytes) {
  return {.offset = half.offset + static_cast<uint64_t>(lines.first * block_bytes),
          .step = static_cast<uint64_t>(lines.step * block_bytes),
          .bytes = static_cast<size_t>(lines.blocks * block_bytes),
          .count = static_cast<size_t>(lines.count)};
}

// Of every other row all exponents are read at once, those between, too: they are a seventeenth.
Result<void> read_exponents(const Half& half, const BlockLines& blocks, std::byte* into) {
  const ByteLines lines = bytes_of(blocks, half, 1);
  if (lines.count <= 1 || lines.step > 2 * lines.bytes)
    return half.source->read_lines(lines, into, lines.bytes);
  std::vector<std::byte> all((lines.count - 1) * lines.step + lines.bytes);
  DUNLIN_RETURN_IF_ERROR(half.source->read_at(lines.offset, all));
  for (size_t i = 0; i < lines.count; ++i)
    std::memcpy(into + i * lines.bytes, all.data() + i * lines.step, lines.bytes);
  return {};
}

class PairedSource final : public RepackedSource {
 public:
  PairedSource(Half blocks, Half scales, int64_t count)
      : RepackedSource(blocks.offset, count),
        blocks_(std::move(blocks)),
        scales_(std::move(scales)) {}

  const std::string& name() const override { return blocks_.source->name(); }

 private:
  Result<void> fetch(const BlockLines& lines, Fetched& fetched) const override {
    fetched.resize(lines.all());
    const ByteLines codes = bytes_of(lines, blocks_, kCodeBytes);
    DUNLIN_RETURN_IF_ERROR(blocks_.source->read_lines(codes, fetched.codes.data(), codes.bytes));
    return read_exponents(scales_, lines, fetched.exponents.data());
  }

  Half blocks_, scales_;
};

class NeighboursSource final : public RepackedSource {
 public:
  NeighboursSource(Half blocks, int64_t count)
      : RepackedSource(blocks.offset, count), blocks_(std::move(blocks)) {}

  const std::string& name() const override { return blocks_.source->name(); }

 private:
  Result<void> fetch(const BlockLines& lines, Fetched& fetched) const override {
    fetched.resize(lines.all());
    fetched.stored.resize(static_cast<size_t>(lines.all() * kBlockBytes));
    const ByteLines stored = bytes_of(lines, blocks_, kBlockBytes);
    DUNLIN_RETURN_IF_ERROR(blocks_.source->read_lines(stored, fetched.stored.data(), stored.bytes));
    for (int64_t i = 0; i < lines.all(); ++i) {
      const std::byte* const block = fetched.stored.data() + i * kBlockBytes;
      fetched.exponents[static_cast<size_t>(i)] = block[0];
      std::memcpy(fetched.codes.data() + i * kCodeBytes, block + 1,
                  static_cast<size_t>(kCodeBytes));
    }
    return {};
  }

  Half blocks_;
};

bool ends_in(const TensorInfo& tensor, std::string_view half) {
  const std::string_view name = tensor.name;
  if (!name.ends_with(half) || name.size() == half.size()) return false;
  const char before = name[name.size() - half.size() - 1];
  return before == '_' || before == '.';
}

bool is_half(const TensorInfo& tensor) {
  return tensor.raw && (ends_in(tensor, kBlocks) || ends_in(tensor, kScales));
}

// Both halves' names are equally long.
std::string partner_of(const TensorInfo& tensor) {
  const std::string_view stem =
      std::string_view(tensor.name).substr(0, tensor.name.size() - kBlocks.size());
  return fmt::format("{}{}", stem, ends_in(tensor, kBlocks) ? kScales : kBlocks);
}

// The blocks' shape without the codes is the scales'.
Result<void> check_shapes(const TensorInfo& blocks, const TensorInfo& scales) {
  const std::vector<int64_t>& shape = blocks.shape;
  if (shape.size() < 2 || shape.back() != kCodeBytes) {
    return tensor_error(blocks, fmt::format("has the shape [{}]; blocks of MXFP4 end in {} bytes",
                                            fmt::join(shape, ", "), kCodeBytes));
  }
  // With a block no extent is longer than the file, so that elements can be counted.
  if (blocks.bytes == 0) {
    return tensor_error(blocks,
                        fmt::format("has the shape [{}] and no blocks", fmt::join(shape, ", ")));
  }
  if (!std::equal(shape.begin(), shape.end() - 1, scales.shape.begin(), scales.shape.end())) {
    return tensor_error(
        scales, fmt::format("has the shape [{}], and {} has [{}]", fmt::join(scales.shape, ", "),
                            blocks.name, fmt::join(shape, ", ")));
  }
  return {};
}

TensorInfo joined(const TensorInfo& blocks, const TensorInfo& scales) {
  TensorInfo tensor = blocks;
  tensor.raw = false;
  tensor.format = Format::mxfp4;
  tensor.shape.pop_back();
  tensor.shape.back() *= 2 * kCodeBytes;
  tensor.bytes = blocks.bytes + scales.bytes;
  tensor.exponents = StoredBytes{scales.name, scales.file, scales.offset, scales.bytes};
  return tensor;
}

}  // namespace

Result<void> join_mxfp4_pairs(std::vector<TensorInfo>& tensors,
                              std::vector<std::shared_ptr<const ByteSource>>& sources) {
  std::unordered_map<std::string, size_t> halves;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (is_half(tensors[i])) halves.emplace(tensors[i].name, i);
  }
  if (halves.empty()) return {};
  std::vector<TensorInfo> all;
  std::vector<std::shared_ptr<const ByteSource>> places;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    if (!is_half(tensor)) {
      all.push_back(tensor);
      places.push_back(sources[i]);
      continue;
    }
    const std::string partner = partner_of(tensor);
    const auto other = halves.find(partner);
    if (other == halves.end())
      return tensor_error(tensor, fmt::format("is half of a pair: {} is missing", partner));
    if (!ends_in(tensor, kBlocks)) continue;
    const TensorInfo& scales = tensors[other->second];
    DUNLIN_RETURN_IF_ERROR(check_shapes(tensor, scales));
    all.push_back(joined(tensor, scales));
    places.push_back(std::make_shared<PairedSource>(Half{sources[i], tensor.offset},
                                                    Half{sources[other->second], scales.offset},
                                                    static_cast<int64_t>(scales.bytes)));
  }
  tensors = std::move(all);
  sources = std::move(places);
  return {};
}

std::shared_ptr<const ByteSource> neighbours_source(std::shared_ptr<const ByteSource> file,
                                                    uint64_t offset, uint64_t bytes) {
  return std::make_shared<NeighboursSource>(Half{std::move(file), offset},
                                            static_cast<int64_t>(bytes) / kBlockBytes);
}

}  // namespace dunlin

#include "checkpoint/mxfp4_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace dunlin {
namespace {

constexpr std::string_view kBlocks = "blocks";  // behind _ or a dot
constexpr std::string_view kScales = "scales";
constexpr int64_t kCodeBytes = 16;                 // of a block
constexpr int64_t kBlockBytes = 1 + kCodeBytes;    // with its exponent
constexpr int64_t kBlocksAtOnce = 64 * 1024 / 16;  // of one read

// ggml's byte i has the code of i in its low and that of i + 16 in its high half.
void repack(const std::byte* codes, std::byte exponent, std::byte* block) {
  block[0] = exponent;
  for (int64_t i = 0; i < kCodeBytes; ++i) {
    const auto code = [codes](int64_t element) {
      return static_cast<int>(codes[element / 2]) >> (element % 2 * 4) & 15;
    };
    block[1 + i] = static_cast<std::byte>(code(i) | code(i + 16) << 4);
  }
}

// Blocks whose codes lie as in pairs, as ggml's. Its bytes begin at the offset of the blocks in their
// file.
class RepackedSource : public ByteSource {
 public:
  RepackedSource(uint64_t offset, int64_t count) : offset_(offset), count_(count) {}

  Result<void> read_at(uint64_t offset, std::span<std::byte> into) const override {
    if (offset < offset_ || offset > size() || into.size() > size() - offset)
      return model_error(name() + ": a read outside a tensor");
    auto begin = static_cast<int64_t>(offset - offset_);
    std::vector<std::byte> codes;
    std::vector<std::byte> exponents;
    while (!into.empty()) {
      const int64_t first = begin / kBlockBytes;
      const int64_t behind =
          (begin + static_cast<int64_t>(into.size()) + kBlockBytes - 1) / kBlockBytes;
      const int64_t count = std::min(behind - first, kBlocksAtOnce);
      codes.resize(static_cast<size_t>(count * kCodeBytes));
      exponents.resize(static_cast<size_t>(count));
      DUNLIN_RETURN_IF_ERROR(fetch(first, codes, exponents));
      const int64_t done = give(codes, exponents, begin - first * kBlockBytes, into);
      begin += done;
      into = into.subspan(static_cast<size_t>(done));
    }
    return {};
  }
  uint64_t size() const override { return offset_ + static_cast<uint64_t>(count_ * kBlockBytes); }

 private:
  // Of the blocks from `first` on, one for each of the exponents.
  virtual Result<void> fetch(int64_t first, std::span<std::byte> codes,
                             std::span<std::byte> exponents) const = 0;

  // The bytes of blocks from the `skip`th on, as many as fit; returns how many.
  static int64_t give(const std::vector<std::byte>& codes, const std::vector<std::byte>& exponents,
                      int64_t skip, std::span<std::byte> into) {
    int64_t done = 0;
    const auto room = static_cast<int64_t>(into.size());
    for (size_t i = 0; i < exponents.size() && done < room; ++i) {
      std::byte block[kBlockBytes];
      repack(codes.data() + i * static_cast<size_t>(kCodeBytes), exponents[i], block);
      const int64_t from = i == 0 ? skip : 0;
      const int64_t bytes = std::min(kBlockBytes - from, room - done);
      std::memcpy(into.data() + done, block + from, static_cast<size_t>(bytes));
      done += bytes;
    }
    return done;
  }

  uint64_t offset_;
  int64_t count_;
};

struct Half {
  std::shared_ptr<const ByteSource> source;
  uint64_t offset;
};

class JoinedSource final : public RepackedSource {
 public:
  JoinedSource(Half blocks, Half scales, int64_t count)
      : RepackedSource(blocks.offset, count),
        blocks_(std::move(blocks)),
        scales_(std::move(scales)) {}

  const std::string& name() const override { return blocks_.source->name(); }

 private:
  Result<void> fetch(int64_t first, std::span<std::byte> codes,
                     std::span<std::byte> exponents) const override {
    DUNLIN_RETURN_IF_ERROR(
        blocks_.source->read_at(blocks_.offset + static_cast<uint64_t>(first * kCodeBytes), codes));
    return scales_.source->read_at(scales_.offset + static_cast<uint64_t>(first), exponents);
  }

  Half blocks_, scales_;
};

class NeighboursSource final : public RepackedSource {
 public:
  NeighboursSource(Half blocks, int64_t count)
      : RepackedSource(blocks.offset, count), blocks_(std::move(blocks)) {}

  const std::string& name() const override { return blocks_.source->name(); }

 private:
  Result<void> fetch(int64_t first, std::span<std::byte> codes,
                     std::span<std::byte> exponents) const override {
    std::vector<std::byte> stored(exponents.size() * static_cast<size_t>(kBlockBytes));
    DUNLIN_RETURN_IF_ERROR(blocks_.source->read_at(
        blocks_.offset + static_cast<uint64_t>(first * kBlockBytes), stored));
    for (size_t i = 0; i < exponents.size(); ++i) {
      const std::byte* const block = stored.data() + i * static_cast<size_t>(kBlockBytes);
      exponents[i] = block[0];
      std::memcpy(codes.data() + i * static_cast<size_t>(kCodeBytes), block + 1,
                  static_cast<size_t>(kCodeBytes));
    }
    return {};
  }

  Half blocks_;
};

Error tensor_error(const TensorInfo& tensor, std::string_view problem) {
  return model_error(fmt::format("{}: the tensor {} {}", tensor.file, tensor.name, problem));
}

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
    places.push_back(std::make_shared<JoinedSource>(Half{sources[i], tensor.offset},
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
